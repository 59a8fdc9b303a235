import { parseArgs } from 'node:util';
import { type Sabotage, sabotages } from './sabotage.ts';

export const brokers = ['sqlite', 'rabbitmq', 'kafka', 'redis'] as const;
export type BrokerName = (typeof brokers)[number];

export interface Arguments {
  readonly broker: BrokerName;
  /** How many of the flights take part, from the first on. */
  readonly records: number;
  /** Whether the working directory, with the ledger files, stays. */
  readonly keep: boolean;
  /** All must be accounted for by then. */
  readonly boundMs: number;
  readonly sabotage: Sabotage | undefined;
}

export const usage = `npm run demo -- [options]
  --broker sqlite|rabbitmq|kafka|redis   the broker under test (default sqlite)
  --records N                            flights to send, 200 to 20000 (default 20000)
  --bound SECONDS                        give up after so long (default 300)
  --keep                                 keep the working directory with the ledger files
  --sabotage ${sabotages.join('|')}   break it on purpose, to see the ledger red`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...words],
    options: {
      broker: { type: 'string', default: 'sqlite' },
      records: { type: 'string', default: '20000' },
      bound: { type: 'string', default: '300' },
      sabotage: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  });
  return {
    broker: oneOf('--broker', values.broker, brokers),
    records: whole('--records', values.records, 200, 20_000),
    boundMs: whole('--bound', values.bound, 10, 3_600) * 1_000,
    sabotage: values.sabotage === undefined ? undefined : oneOf('--sabotage', values.sabotage, sabotages),
    keep: values.keep,
  };
}

function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((each) => each === text);
  if (choice !== undefined) return choice;
  throw new TypeError(`${name} takes ${choices.join(', ')}; received "${text}"`);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new TypeError(`${name} takes a whole number from ${least} to ${most}; received "${text}"`);
}
