/** What a seed stands for: topic, processes, messages, how handlers behave, and what goes wrong when. */

import type { Capabilities } from '../../src/port.ts';
import { type Random, seeded } from './random.ts';
import { calm, type Weather } from './weather.ts';

export type Behaviour =
  /** Handled at the first call. */
  | 'well'
  /** Fails its first calls, then is handled. */
  | 'late'
  | 'fails'
  | 'dead-letters'
  | 'asks-for-later'
  /** Its first call does not end. */
  | 'hangs'
  /** Each of its calls kills its process. */
  | 'kills';

export interface PlannedMessage {
  readonly id: string;
  readonly writer: number;
  readonly key: string;
  readonly seq: number;
  readonly lane: 'high' | 'normal' | 'low' | undefined;
  readonly route: 'direct' | 'outbox' | 'rolled-back';
  readonly atMs: number;
  /** Whether its writer waits for it before the next. */
  readonly awaited: boolean;
  readonly behaviour: Behaviour;
  /** Failing calls of `late`. */
  readonly failures: number;
}

export interface PlannedGroup {
  readonly name: string;
  readonly ordered: boolean;
  readonly guard: 'inbox' | 'none';
  readonly batch: number;
  readonly concurrency: number;
  readonly prefetch: number;
  readonly immediate: number;
  readonly delays: readonly number[];
  readonly breaker: boolean;
  readonly timeoutMs: number;
}

export interface Disturbance {
  readonly atMs: number;
  readonly kind: 'crash' | 'restart' | 'disconnect' | 'broker-away' | 'store-away' | 'calm';
  readonly process: number;
  readonly forMs: number;
}

export interface Plan {
  readonly seed: number;
  readonly lanes: boolean;
  readonly partitions: number;
  readonly flow: Capabilities['flow'];
  readonly groups: readonly PlannedGroup[];
  readonly processes: number;
  readonly messages: readonly PlannedMessage[];
  readonly disturbances: readonly Disturbance[];
  readonly weather: Weather;
  readonly lengthMs: number;
}

const BEHAVIOURS: readonly Behaviour[] = [
  ...Array<Behaviour>(14).fill('well'),
  'late',
  'late',
  'late',
  'fails',
  'dead-letters',
  'asks-for-later',
  'hangs',
];

export function planOf(seed: number): Plan {
  const random = seeded(seed);
  const { int, chance, pick } = random;
  const lengthMs = pick([2_000, 10_000, 40_000]);
  const lanes = chance(0.3);
  const processes = int(1, 3);
  const groups = Array.from({ length: int(1, 2) }, (_, index) => groupOf(random, `g${index}`));
  const keys = int(1, 4);
  const stormy = chance(0.75);
  const kills = chance(0.15);
  const messages = Array.from({ length: int(5, 40) }, (_, index): PlannedMessage => {
    const writer = int(0, 1);
    const behaviour = kills && chance(0.08) ? 'kills' : pick(BEHAVIOURS);
    const drawn = pick(['direct', 'direct', 'outbox', 'outbox', 'rolled-back'] as const);
    // What kills the process whose relay publishes it may do so before its row is gone, each time anew.
    const route = behaviour === 'kills' && drawn === 'outbox' ? 'direct' : drawn;
    return {
      id: `m${index}`,
      writer,
      // Order speaks of one way per key: two would race.
      key: `w${writer}-${route === 'direct' ? 'd' : 'o'}${int(1, keys)}`,
      seq: index,
      lane: lanes ? pick(['high', 'normal', 'low'] as const) : undefined,
      route,
      atMs: 0,
      awaited: chance(0.3),
      behaviour,
      failures: int(1, 3),
    };
  });
  // Each writer goes through its messages in this order, so that a later one is never planned for an earlier time.
  const times = messages.map(() => random.next() * lengthMs * 0.7).sort((a, b) => a - b);
  return {
    seed,
    lanes,
    partitions: int(1, 4),
    flow: {
      batchMessages: int(1, 20),
      batchBytes: 1024 * 1024,
      window: int(1, 6),
      exclusive: pick(['key', 'partition'] as const),
    },
    groups,
    processes,
    messages: messages.map((message, index) => ({ ...message, atMs: times[index]! })),
    disturbances: stormy ? disturbancesOf(random, processes, lengthMs) : [],
    weather: stormy ? badWeather(random) : calm(),
    lengthMs,
  };
}

function groupOf({ int, chance, pick }: Random, name: string): PlannedGroup {
  const ordered = chance(0.5);
  return {
    name,
    ordered,
    guard: chance(0.6) ? 'inbox' : 'none',
    batch: chance(0.25) ? int(2, 8) : 1,
    concurrency: pick([1, 2, 4, 10]),
    prefetch: pick([1, 4, 20, 100]),
    immediate: int(0, 2),
    delays: pick([[], [100], [50, 500], [1_000, 5_000]]),
    breaker: chance(0.15),
    timeoutMs: pick([200, 1_000]),
  };
}

function disturbancesOf({ int, pick, next }: Random, processes: number, lengthMs: number): Disturbance[] {
  return Array.from({ length: int(0, 6) }, () => ({
    atMs: next() * lengthMs * 0.8,
    kind: pick(['crash', 'crash', 'restart', 'disconnect', 'disconnect', 'broker-away', 'store-away', 'calm'] as const),
    process: int(0, processes - 1),
    forMs: pick([10, 300, 2_000, 8_000]),
  }));
}

function badWeather({ chance, next, pick }: Random): Weather {
  const share = (most: number): number => (chance(0.5) ? 0 : next() * most);
  return {
    brokerAway: false,
    storeAway: false,
    publishLost: share(0.3),
    publishUnconfirmed: share(0.3),
    publishRefused: share(0.3),
    publishTwice: share(0.2),
    publishHangs: share(0.05),
    settleLost: share(0.1),
    settleUnconfirmed: share(0.2),
    storeFails: share(0.2),
    storeReplyLost: share(0.2),
    latencyMs: pick([1, 10, 100]),
  };
}
