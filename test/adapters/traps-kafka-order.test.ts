import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { Partitioners } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until as conditionally } from '../conformance/until.ts';
import { ensureInstalled } from '../fleet/install.ts';
import { startProxied } from '../fleet/proxied.ts';
import { releaseOf } from '../fleet/releases.ts';
import {
  brokers,
  connect,
  consume,
  consumeInChild,
  kill,
  library,
  message,
  numbers,
  publish,
  textOf,
  topologyOf,
  until,
} from './kafka-fixture.ts';
import { connect as connectClient } from './traps-connect.ts';

describe('the order of keys on Kafka', () => {
  it('Trap 51: the consumer dies with many messages of each key unsettled: they come again in order, behind what was done', async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 2, ordered: true });
    await adapter.declare(topology);
    const keys = ['a', 'b', 'c'];
    await publish(
      adapter,
      Array.from({ length: 30 }, (_, n) => keys.map((key) => message(topology, `${key}${n}`, { key }))).flat(),
    );
    const settles = keys.flatMap((key) => numbers(7, key));
    const { child, lines } = consumeInChild(topology, settles.join(','));
    const of = (what: string): string[] => lines.filter((line) => line.startsWith(`${what} `));
    await until(
      () => of('got').length === 90 && of('settled').length === settles.length,
      () => lines.length,
    );
    await until(async () => (await adapter.backlog(topology, 'billing')).ready! <= 69);
    await kill(child);
    const { got } = await consume(adapter, topology);
    await until(
      () => keys.every((key) => got.some((one) => textOf(one) === `${key}29`)),
      () => got.map(textOf),
    );
    for (const key of keys) {
      const seen = got.filter((one) => one.message.key === key).map((one) => Number(textOf(one).slice(1)));
      const from = seen[0]!;
      expect(from).toBeLessThanOrEqual(7);
      expect(seen).toEqual(Array.from({ length: 30 - from }, (_, i) => from + i));
    }
  });

  it('Trap 55: the confirm of a message in the middle of a key is lost: its successors do not overtake its resend', {
    timeout: 120_000,
  }, async () => {
    const fleet = await startProxied('kafka', 1);
    const [proxy] = fleet.proxies;
    const client = await connectClient({
      adapter: kafka({ brokers: proxy!.url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000 }),
    });
    try {
      const topic = defineTopic<{ key: string; n: number }>(`trap-${randomUUID()}`, {
        key: ({ key }) => key,
        groups: { g: { order: 'key' } },
        partitions: 2,
      });
      const keys = ['a', 'b', 'c'];
      const send = (n: number): Promise<unknown>[] =>
        keys.map((key) => client.publish(topic, { key, n }, { id: `${key}-${n}-`, timeoutMs: 60_000 }));
      await Promise.all(send(0));
      const before = proxy!.connections().swallowed;
      let lost = 0;
      proxy!.swallow((sent) => sent.includes('b-5-') && lost++ === 0);
      const all = Array.from({ length: 20 }, (_, n) => send(n + 1)).flat();
      await Promise.all(all);
      expect(proxy!.connections().swallowed - before).toBe(1);
      const seen = new Map<string, number[]>(keys.map((key) => [key, []]));
      await client.consume(topic, { group: 'g' }, ({ payload }) => void seen.get(payload.key)!.push(payload.n));
      const inOrder = Array.from({ length: 21 }, (_, n) => n);
      await conditionally('all are handled', () => keys.every((key) => new Set(seen.get(key)).size === 21));
      // The broker knows the resend by its sequence number, so there is not even a repeat.
      for (const key of keys) expect(seen.get(key)).toEqual(inOrder);
    } finally {
      await client.close({ drainMs: 1_000 });
      await fleet.stop();
    }
  });
});

describe('the partition of a key on Kafka', () => {
  it('Trap 19: is the one that the Java client and kafkajs choose', { timeout: 120_000 }, async () => {
    const { adapter } = await connect();
    const topology = topologyOf({ partitions: 7 });
    await adapter.declare(topology);
    // Of every length from 1 to 40, beyond ASCII too: murmur2 reads four bytes at a time and treats the rest apart.
    const keys = Array.from({ length: 120 }, (_, n) => `${n % 3 === 0 ? 'größe-€-' : ''}${'x'.repeat(n % 40)}${n}`);
    for (const key of keys) {
      const [outcome] = await publish(adapter, [message(topology, key, { key })]);
      expect(outcome!.kind).toBe('confirmed');
    }
    const producer = library().producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    await producer.send({ topic: topology.topic, messages: keys.map((key) => ({ key, value: key })) });
    await producer.disconnect();
    const installed = await ensureInstalled(releaseOf('kafka'));
    const source = new URL('../fleet/kafka/KeyedProducer.java', import.meta.url).pathname;
    await promisify(execFile)('java', [
      '-cp',
      `${installed}/libs/*`,
      source,
      brokers.replace('kafka://', ''),
      topology.topic,
      ...keys,
    ]);
    const { got } = await consume(adapter, topology);
    await until(
      () => got.length === 3 * keys.length,
      () => got.length,
    );
    const places = Map.groupBy(got, (one) => textOf(one));
    expect(places.size).toBe(keys.length);
    for (const [, copies] of places) expect(new Set(copies.map(({ shard }) => shard)).size).toBe(1);
    expect(new Set(got.map(({ shard }) => shard)).size).toBe(7);
  });
});
