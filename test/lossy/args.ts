import { parseArgs } from 'node:util';
import { type SettingName, settingNames } from './settings.ts';

export interface Arguments {
  readonly settings: readonly SettingName[];
  /** How often the server is broken, under each setting and under its safe twin. */
  readonly rounds: number;
  /** Decides when. */
  readonly seed: number;
  /** Whether the ledgers stay. */
  readonly keep: boolean;
}

export const usage = `npm run lossy -- [options]
  --setting NAME,…    of ${settingNames.join(', ')} (default all)
  --rounds N          how often each server is broken, 1 to 1000 (default 5)
  --seed S            a whole number from 1: when it is broken (default: any, printed)
  --keep              keep the ledgers' folders`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[]): Arguments {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...words],
    options: { setting: text, rounds: text, seed: text, keep: { type: 'boolean', default: false } },
  });
  return {
    settings: values.setting === undefined ? settingNames : listed(values.setting),
    rounds: whole('--rounds', values.rounds ?? '5', 1_000),
    seed:
      values.seed === undefined
        ? 1 + Math.floor(Math.random() * (2 ** 31 - 2))
        : whole('--seed', values.seed, 2 ** 31 - 1),
    keep: values.keep,
  };
}

function listed(text: string): readonly SettingName[] {
  return [...new Set(text.split(','))].map((word) => {
    const found = settingNames.find((name) => name === word);
    if (found !== undefined) return found;
    throw new TypeError(`--setting knows no ${JSON.stringify(word)}; it knows ${settingNames.join(', ')}`);
  });
}

function whole(name: string, text: string, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  throw new TypeError(`${name} takes a whole number from 1 to ${most}; received ${JSON.stringify(text)}`);
}
