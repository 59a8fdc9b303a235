import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { redis } from '../../adapters/redis/index.ts';
import { DeadLetter, defineTopic } from '../../src/index.ts';
import { until } from '../conformance/until.ts';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import type { FaultProxy } from '../fleet/proxy.ts';
import { connect } from './traps-connect.ts';

const COUNT = 60;
const brokers = {
  rabbitmq: (url: string) => rabbitmq({ url, heartbeatSeconds: 2 }),
  redis: (url: string) => redis({ url, commandTimeoutMs: 1_000 }),
  kafka: (url: string) => kafka({ brokers: url, requestTimeoutMs: 1_500 }),
} as const;
const faults: Readonly<Record<string, (proxy: FaultProxy) => unknown>> = {
  'is cut': (proxy) => proxy.cut(),
  'is broken': (proxy) => proxy.reset(),
  async 'loses replies'(proxy) {
    const { swallowed } = proxy.connections();
    proxy.swallow('replies');
    await until('a reply is lost', () => proxy.connections().swallowed > swallowed);
    // That connection stays silent; new ones work.
    proxy.heal();
  },
};

describe.each(Object.entries(brokers))('an operator whose connection to %s', (kind, adapter) => {
  let fleet: Proxied;
  beforeAll(async () => {
    fleet = await startProxied(kind as keyof typeof brokers, 1);
  }, 180_000);
  afterAll(() => fleet.stop());

  it.each(Object.entries(faults))(
    '%s amid a replay loses no letter, and the next call goes on with the run',
    async (_, harm) => {
      const [proxy] = fleet.proxies;
      const topic = defineTopic<number>(`replay-${randomUUID()}`, { groups: ['g'] });
      const worker = await connect({ adapter: adapter(fleet.server.url), source: 'tests' });
      const numbers = Array.from({ length: COUNT }, (_, n) => n);
      let dies = true;
      const handled: number[] = [];
      const ids = new Map<number, Set<string>>();
      await worker.consume(topic, { group: 'g' }, ({ payload, id }) => {
        if (dies) throw new DeadLetter('bad');
        handled.push(payload);
        ids.set(payload, (ids.get(payload) ?? new Set()).add(id));
      });
      const letters = worker.deadLetters(topic, 'g');
      for (const result of await worker.publishAll(topic, numbers)) expect(result.ok).toBe(true);
      await until('all are dead', async () => (await letters.count()) === COUNT);
      dies = false;

      const operator = await connect({ adapter: adapter(proxy!.url), source: 'tests' });
      const startedAt = new Date();
      // Every second one is edited: both ways of moving a letter.
      const edit = ({ body }: { readonly body: Uint8Array }) =>
        Number(Buffer.from(body).toString()) % 2 === 0 ? {} : undefined;
      const run = () => operator.deadLetters(topic, 'g').replay({ startedAt, ratePerSecond: 100, edit });
      const first = run().catch(() => undefined);
      await until('it is amid its letters', () => handled.length >= 10);
      await harm(proxy!);
      await first;
      await until(
        'the run is over, and no letter is left',
        async () => {
          const over = await run().catch(() => undefined);
          return over !== undefined && (await letters.count()) === 0;
        },
        90_000,
      );
      await until('each is handled', () => ids.size === COUNT);
      // One is on its way at a time; acknowledgements of RabbitMQ's may be a few behind.
      expect(handled.length - COUNT).toBeLessThanOrEqual(kind === 'redis' ? 0 : 10);
      for (const each of ids.values()) expect(each.size, 'a repeat has the same id').toBe(1);
    },
    180_000,
  );
});
