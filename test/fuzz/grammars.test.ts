import fc from 'fast-check';
import { describe } from 'vitest';
import { RUNGS, ripeness, rungFor } from '../../adapters/kafka/ladder.ts';
import { settingsOf as kafkaSettings } from '../../adapters/kafka/options.ts';
import { checkOptions as postgresOptions } from '../../adapters/postgres/options.ts';
import { MAX_DELAY_MS, rungsFor } from '../../adapters/rabbitmq/delays.ts';
import { readOptions } from '../../adapters/rabbitmq/options.ts';
import { settingsOf as redisSettings } from '../../adapters/redis/options.ts';
import { checkOptions as sqliteOptions } from '../../adapters/sqlite/options.ts';
import { consumePlan } from '../../src/consume/options.ts';
import { defineTopic, isHoldfastError } from '../../src/index.ts';
import { checkHeaders, checkId, checkKey } from '../../src/message.ts';
import { nearest } from '../../src/options.ts';
import { partitionOf } from '../../src/partition.ts';
import { nextStep, retryPlan, wholeMs } from '../../src/policy/delays.ts';
import { anything, ensure, fuzz, headers, text } from './fuzz.ts';

/** Whether it was taken. What is refused is refused by a TypeError, or with a HoldfastError. */
function taken(call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (error) {
    ensure(error instanceof TypeError || isHoldfastError(error) || isHostile(error), 'the error is typed');
    ensure(isHostile(error) || (error as Error).message.length < 4_000, 'the error is short');
    return false;
  }
}
/** What a getter of the caller's has thrown is the caller's. */
const isHostile = (error: unknown): boolean => error instanceof RangeError && error.message === 'hostile';

describe('names, keys and headers', () => {
  fuzz('a name that is taken is within the grammar', 4, fc.oneof(text, anything), (name) => {
    if (!taken(() => defineTopic(name as string))) return;
    ensure(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(name as string) && !(name as string).includes('--'),
      'it is within',
    );
  });
  fuzz('a key or id that is taken is text that every broker holds', 3, fc.oneof(text, anything), (value) => {
    if (taken(() => checkKey(value))) {
      ensure(
        typeof value === 'string' && Buffer.byteLength(value) <= 1_024 && !value.includes('\0') && value.isWellFormed(),
        'it is a key',
      );
      for (const partitions of [1, 3, 64]) {
        const partition = partitionOf(value, partitions);
        ensure(Number.isInteger(partition) && partition >= 0 && partition < partitions, 'it has a partition');
      }
    }
    if (taken(() => checkId('id', value))) ensure(typeof value === 'string' && value.length <= 128, 'it is an id');
  });
  fuzz('headers that are taken are plain text, and a copy', 3, fc.oneof(headers, anything), (given) => {
    let copy: Readonly<Record<string, string>> | undefined;
    if (
      !taken(() => {
        copy = checkHeaders(given);
      })
    )
      return;
    ensure(copy !== given && Object.getPrototypeOf(copy) === null, 'it is a copy');
    for (const [name, value] of Object.entries(copy!))
      ensure(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name) && typeof value === 'string', 'it is text');
  });
});

describe('options', () => {
  const value = fc.oneof(anything, text, fc.integer(), fc.double(), fc.constant(undefined));
  const of = (...names: readonly string[]) =>
    fc.dictionary(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: text }),
      value,
      { maxKeys: 4, noNullPrototype: true },
    );
  fuzz(
    'of topics and consumers',
    3,
    fc.tuple(
      of('schema', 'codec', 'key', 'priority', 'partitions', 'groups', 'maxBytes', 'onExpired'),
      of('group', 'order', 'concurrency', 'retry', 'from', 'laneWeights', 'breaker', 'ratePerSecond'),
    ),
    ([topic, consumer]) => {
      taken(() => defineTopic('t', topic as never));
      taken(() => consumePlan(consumer as never));
    },
  );
  const place = fc.oneof(
    text,
    fc.webUrl(),
    fc
      .tuple(fc.constantFrom('amqp', 'amqps', 'redis', 'rediss', 'kafka', 'x'), text)
      .map(([scheme, rest]) => `${scheme}://${rest}`),
  );
  fuzz(
    'of adapters and stores, whatever URL they are given',
    4,
    fc.tuple(
      place,
      of(
        'url',
        'username',
        'password',
        'tls',
        'db',
        'prefix',
        'sentinels',
        'durability',
        'brokers',
        'ssl',
        'sasl',
        'path',
        'pool',
        'schema',
        'source',
      ),
    ),
    ([url, more]) => {
      taken(() => readOptions({ url, ...more } as never));
      taken(() => redisSettings({ url, ...more } as never));
      taken(() => kafkaSettings({ brokers: url, ...more } as never));
      taken(() => sqliteOptions({ path: url, ...more } as never));
      taken(() => postgresOptions({ pool: { connect() {}, query() {} }, ...more } as never));
      taken(() => readOptions({ url } as never));
      taken(() => redisSettings({ url } as never));
      taken(() => kafkaSettings({ brokers: url }));
    },
  );
  fuzz(
    'the nearest name is one of them, or none',
    2,
    fc.tuple(text, fc.array(fc.string({ maxLength: 12 }), { maxLength: 6 })),
    ([name, names]) => {
      const found = nearest(name, names);
      ensure(found === undefined || names.includes(found), 'it is one of them');
    },
  );
});

describe('delays', () => {
  fuzz(
    'RabbitMQ’s ladder is never short, and late by at most half a second or 8 %',
    2,
    fc.oneof(fc.integer({ min: 1, max: MAX_DELAY_MS }), fc.integer({ min: 1, max: 100_000 })),
    (delayMs) => {
      const rungs = rungsFor(delayMs);
      const sum = rungs.reduce((total, rung) => total + rung, 0);
      ensure(sum >= delayMs && sum - delayMs <= Math.max(500, delayMs * 0.08), 'it is as long as promised');
      ensure(rungs.length <= 4 && new Set(rungs).size === rungs.length, 'it is at most four hops, each its own');
    },
  );
  fuzz(
    'Kafka’s ladder comes to its end',
    2,
    fc.tuple(fc.integer({ min: 0, max: 2 ** 31 - 1 }), fc.nat(2 ** 40)),
    ([waitMs, start]) => {
      let left = waitMs;
      let now = start;
      for (let hops = 0; hops < 2_000; hops += 1) {
        const rung = rungFor(left);
        const record = {
          offset: 0,
          timestamp: now,
          key: null,
          value: null,
          headers: { 'hf-k-wait': Buffer.from(String(left)) },
        };
        const resting = ripeness(record, rung, now);
        if (resting.kind === 'resting') now = resting.until;
        const ripe = ripeness(record, rung, now);
        if (ripe.kind === 'due') return ensure(now >= start + waitMs, 'it is not early');
        if (ripe.kind === 'hop') left = ripe.waitMs;
        else now = ripe.until;
        if (ripe.kind === 'resting')
          return ensure(ripeness(record, rung, now).kind === 'due' && now >= start + waitMs, 'it is not early');
      }
      ensure(RUNGS.length === 0, 'it ends');
    },
  );
  fuzz(
    'a policy ends after its attempts, with pauses that timers keep',
    2,
    fc.tuple(fc.nat(5), fc.array(fc.nat(1_000), { maxLength: 4 }), fc.oneof(fc.double(), anything)),
    ([retries, delays, odd]) => {
      const plan = retryPlan({ immediate: { retries }, delays });
      for (let attempts = 1; attempts < plan.maxAttempts; attempts += 1) {
        const step = nextStep(plan, attempts);
        ensure(step.kind !== 'exhausted' && (step.kind === 'immediate' || delays.includes(step.delayMs)), 'it goes on');
      }
      ensure(nextStep(plan, plan.maxAttempts).kind === 'exhausted', 'it ends');
      if (typeof odd === 'number') ensure(Number.isSafeInteger(wholeMs(odd)) && wholeMs(odd) >= 0, 'a pause is whole');
    },
  );
});
