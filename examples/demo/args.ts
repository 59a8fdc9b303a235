import { parseArgs } from 'node:util';

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
}

export const usage = `npm run demo -- [options]
  --broker sqlite|rabbitmq|kafka|redis   the broker under test (default sqlite)
  --records N                            flights to send, 200 to 20000 (default 20000)
  --bound SECONDS                        give up after so long (default 300)
  --keep                                 keep the working directory with the ledger files`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...words],
    options: {
      broker: { type: 'string', default: 'sqlite' },
      records: { type: 'string', default: '20000' },
      bound: { type: 'string', default: '300' },
      keep: { type: 'boolean', default: false },
    },
  });
  const broker = brokers.find((name) => name === values.broker);
  if (broker === undefined) throw new TypeError(`--broker takes ${brokers.join(', ')}; received "${values.broker}"`);
  const records = whole('--records', values.records, 200, 20_000);
  return { broker, records, keep: values.keep, boundMs: whole('--bound', values.bound, 10, 3_600) * 1_000 };
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new TypeError(`${name} takes a whole number from ${least} to ${most}; received "${text}"`);
}
