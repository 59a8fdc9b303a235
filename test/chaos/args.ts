import { parseArgs } from 'node:util';
import { type SabotageName, sabotageNames } from './sabotage.ts';

export const brokers = ['rabbitmq', 'kafka', 'redis'] as const;
export type BrokerName = (typeof brokers)[number];

export interface Arguments {
  readonly broker: BrokerName;
  /** How long faults go on; warm-up and drain come on top. */
  readonly minutes: number;
  /** Decides the schedule of faults. */
  readonly seed: number;
  /** Whether the ledger's folder stays. */
  readonly keep: boolean;
  /** What is broken on purpose, in a short run of the faults that it takes. */
  readonly sabotage: SabotageName | undefined;
}

export const usage = `npm run chaos -- [options]
  --broker rabbitmq|kafka|redis   the broker under test (default redis)
  --minutes N                     how long faults go on, 1 to 1440 (default 10)
  --seed S                        a whole number from 1; the same seed, the same schedule (default: any, printed)
  --keep                          keep the ledger's folder
  --sabotage NAME                 broken on purpose, to see it red: ${sabotageNames.join(', ')}`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...words],
    options: {
      broker: { type: 'string', default: 'redis' },
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string' },
      keep: { type: 'boolean', default: false },
      sabotage: { type: 'string' },
    },
  });
  const broker = brokers.find((each) => each === values.broker);
  if (broker === undefined) throw new TypeError(`--broker takes ${brokers.join(', ')}; received "${values.broker}"`);
  const sabotage = sabotageNames.find((each) => each === values.sabotage);
  if (values.sabotage !== sabotage)
    throw new TypeError(`--sabotage takes ${sabotageNames.join(', ')}; received "${values.sabotage}"`);
  return {
    broker,
    sabotage,
    minutes: whole('--minutes', values.minutes, 1, 1_440),
    seed:
      values.seed === undefined
        ? 1 + Math.floor(Math.random() * (2 ** 31 - 2))
        : whole('--seed', values.seed, 1, 2 ** 31 - 1),
    keep: values.keep,
  };
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  const why = name === '--minutes' ? '; a shorter run proves nothing' : '';
  throw new TypeError(`${name} takes a whole number from ${least} to ${most}${why}; received "${text}"`);
}
