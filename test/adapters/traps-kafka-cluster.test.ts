import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { Topic } from '../../src/topic.ts';
import { until } from '../conformance/until.ts';
import { type KafkaCluster, startKafkaCluster } from '../fleet/recipes/kafka-cluster.ts';
import { connect } from './traps-connect.ts';

const DEADLINE_MS = 4_000;
const TIMEOUT_MS = 240_000;

describe('three Kafka brokers, of which two must have what is confirmed', () => {
  let cluster: KafkaCluster;
  beforeAll(async () => {
    cluster = await startKafkaCluster();
  }, TIMEOUT_MS);
  afterAll(() => cluster?.stop(), 60_000);

  const open = (): Promise<Client> => connect({ adapter: kafka({ brokers: cluster.url, requestTimeoutMs: 5_000 }) });
  const two = (): readonly KafkaCluster['nodes'][number][] => cluster.nodes.slice(1);

  it.each([
    ['killed', 'kill', 'restart'],
    ['paused', 'pause', 'resume'],
  ] as const)(
    'Trap 18: with two of them %s every publish ends by its deadline, not confirmed, and goes on when they are back',
    { timeout: TIMEOUT_MS },
    async (_, away, back) => {
      await using client = await open();
      const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} }, partitions: 6 });
      const outcomes = new Map<string, Outcome>();
      const publish = async (id: string, timeoutMs = DEADLINE_MS): Promise<void> => {
        outcomes.set(id, await outcomeOf(client, topic, id, timeoutMs));
      };
      const many = (name: string): Promise<unknown> =>
        Promise.all(Array.from({ length: 60 }, (_, n) => publish(`${name}-${n}`)));
      // A cluster that has just started takes its time.
      await publish('first', 60_000);
      await many('before');
      expect(new Set(outcomes.values())).toEqual(new Set(['confirmed']));

      await Promise.all(two().map((node) => node[away]()));
      // Until the replicas are given up a partition waits for them, from then on it refuses: both end by the deadline.
      const begun = performance.now();
      for (let round = 0; round < 3; round++) await many(`without-${round}`);
      expect(performance.now() - begun).toBeLessThan(3 * (DEADLINE_MS + 2_000));
      const without = [...outcomes].filter(([id]) => id.startsWith('without'));
      expect(without.filter(([, outcome]) => outcome !== 'not-sent' && outcome !== 'unknown')).toEqual([]);

      await Promise.all(two().map((node) => node[back]()));
      let last = '';
      for (const partition of Array.from({ length: 6 }, (_, n) => n)) {
        await until(`partition ${partition} takes messages again`, async () => {
          last = `after-${randomUUID()}`;
          await publish(last);
          return outcomes.get(last) === 'confirmed';
        });
      }
      const seen = new Set<string>();
      await client.consume(topic, { group: 'g' }, ({ id }) => void seen.add(id));
      const of = (wanted: Outcome): string[] => [...outcomes].filter(([, one]) => one === wanted).map(([id]) => id);
      await until('all that was confirmed is read', () => of('confirmed').every((id) => seen.has(id))).catch(
        async (error: Error) => {
          throw new Error(`${error.message}; ${seen.size} were: ${JSON.stringify(await client.health())}`);
        },
      );
      await until('nothing waits', async () => (await client.backlog(topic, 'g')).ready === 0);
      expect(of('not-sent').filter((id) => seen.has(id))).toEqual([]);
    },
  );

  it('G5: brokers that are restarted one after the other, or killed, move leaders and coordinators: all is confirmed, handled, in order', {
    timeout: TIMEOUT_MS,
  }, async () => {
    await using client = await open();
    await using other = await open();
    const topic = defineTopic<{ key: string; n: number }>(`trap-${randomUUID()}`, {
      key: ({ key }) => key,
      groups: { g: { order: 'key' } },
      partitions: 6,
    });
    const keys = Array.from({ length: 8 }, (_, n) => `key-${n}`);
    const order = new Map<string, number[]>(keys.map((key) => [key, []]));
    for (const one of [client, other])
      await one.consume(topic, { group: 'g' }, ({ payload: { key, n } }) => {
        const seen = order.get(key)!;
        if (!seen.includes(n)) seen.push(n);
      });
    let published = 0;
    let stop = false;
    const feeding = (async () => {
      for (; !stop; published++) {
        const n = published;
        await Promise.all(
          keys.map((key) => client.publish(topic, { key, n }, { id: `${key}-${n}`, timeoutMs: 60_000 })),
        );
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const handled = (n: number): Promise<void> =>
      until(`number ${n} of each key is handled`, () => [...order.values()].every((seen) => seen.includes(n)));
    try {
      for (const [node, how] of [
        [1, 'restart'],
        [2, 'restart'],
        [1, 'kill'],
      ] as const) {
        await handled(published);
        if (how === 'kill') await cluster.nodes[node].kill();
        await cluster.nodes[node].restart();
      }
      await handled(published);
    } finally {
      stop = true;
      await feeding;
    }
    await handled(published - 1);
    for (const seen of order.values()) expect(seen).toEqual(Array.from({ length: published }, (_, n) => n));
  });

  it('Trap 55: refused for want of replicas in the middle of a key, a message is tried again, and none overtakes it', {
    timeout: TIMEOUT_MS,
  }, async () => {
    await using client = await open();
    const topic = defineTopic<{ key: string; n: number }>(`trap-${randomUUID()}`, {
      key: ({ key }) => key,
      groups: { g: { order: 'key' } },
      partitions: 2,
    });
    let published = 0;
    const failures: unknown[] = [];
    const all: Promise<unknown>[] = [];
    const publish = (): void => {
      const n = published++;
      for (const key of ['a', 'b', 'c'])
        all.push(
          client
            .publish(topic, { key, n }, { id: `${key}-${n}`, timeoutMs: 120_000 })
            .catch((error) => failures.push(error)),
        );
    };
    for (let n = 0; n < 10; n++) publish();
    await Promise.all(all);
    for (let n = 0; n < 5; n++) publish();
    await Promise.all(two().map((node) => node.kill()));
    for (let n = 0; n < 10; n++) publish();
    // Longer than a broker needs to be given up by the others.
    const refused = await outcomeOf(client, topicOf('other'), 'x', 10_000);
    expect(refused).not.toBe('confirmed');
    for (let n = 0; n < 5; n++) publish();
    await Promise.all(two().map((node) => node.restart()));
    await Promise.all(all);
    expect(failures).toEqual([]);
    const order = new Map<string, number[]>();
    await client.consume(topic, { group: 'g' }, ({ payload: { key, n } }) => {
      const seen = order.get(key) ?? [];
      order.set(key, seen);
      if (!seen.includes(n)) seen.push(n);
    });
    const inOrder = Array.from({ length: published }, (_, n) => n);
    await until('all are handled', () => [...order.values()].filter((seen) => seen.length === published).length === 3);
    for (const seen of order.values()) expect(seen).toEqual(inOrder);
  });
});

const topicOf = (name: string): Topic<string> =>
  defineTopic<string>(`trap-${name}-${randomUUID()}`, { groups: { g: {} } });

type Outcome = 'confirmed' | 'not-sent' | 'unknown' | string;

async function outcomeOf(client: Client, topic: Topic<string>, id: string, timeoutMs = DEADLINE_MS): Promise<Outcome> {
  try {
    await client.publish(topic, `payload of ${id}`, { id, timeoutMs });
    return 'confirmed';
  } catch (error) {
    return (isHoldfastError(error) && error.outcome) || String(error);
  }
}
