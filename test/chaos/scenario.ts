/** Short runs with the faults that a broken build takes to show; the same with an intact one must end green. */

import { seeded } from '../simulation/random.ts';
import type { BrokerName } from './args.ts';
import type { Route } from './ledger-file.ts';
import { type Card, type Fault, faultOf, type Plan } from './plan.ts';

interface Scenario {
  readonly broker: BrokerName;
  /** Of the producers. */
  readonly routes: readonly Route[];
  /** Producers know no group of the transfers, and consumers are started when producers have been at work for a while. */
  readonly consumersLate?: boolean;
  /** In each window, of one target after the other the oldest process. */
  readonly windows: readonly (readonly (Card & Partial<Fault>)[])[];
}

const AT_ONCE_MS = 1_000;
const MOST_MS = 4_000;

export const scenarios = {
  deaths: {
    broker: 'redis',
    routes: ['direct', 'outbox'],
    windows: [
      [
        { kind: 'kill', target: 'consumer' },
        { kind: 'kill', target: 'relay' },
        { kind: 'swallow', target: 'broker', lastsMs: MOST_MS },
      ],
      [
        { kind: 'kill', target: 'consumer' },
        { kind: 'kill', target: 'relay' },
        { kind: 'kill', target: 'broker' },
      ],
    ],
  },
  rebalances: {
    broker: 'kafka',
    routes: ['direct', 'outbox'],
    // A slow database leaves much in hand when partitions change hands.
    windows: Array.from({ length: 2 }, () => [
      { kind: 'delay', target: 'postgres', afterMs: 0, lastsMs: 8_000, luck: 0.8 },
      { kind: 'kill', target: 'consumer', afterMs: 3_000 },
    ]),
  },
  early: {
    broker: 'rabbitmq',
    routes: ['direct', 'direct'],
    consumersLate: true,
    windows: [[{ kind: 'kill', target: 'consumer' }], [{ kind: 'kill', target: 'broker' }]],
  },
} satisfies Readonly<Record<string, Scenario>>;

export type ScenarioName = keyof typeof scenarios;
export const scenarioNames: readonly ScenarioName[] = Object.keys(scenarios) as ScenarioName[];
export const scenarioOf = (name: ScenarioName): Scenario => scenarios[name];

export function planOfScenario(seed: number, { windows }: Scenario): Plan {
  const random = seeded(seed);
  return windows.map((cards) =>
    cards.map((card) => {
      const fault = faultOf(card, random);
      const lastsMs = Math.min(fault.lastsMs, MOST_MS);
      return { ...fault, lastsMs, afterMs: Math.min(fault.afterMs, AT_ONCE_MS), luck: 0, ...card };
    }),
  );
}
