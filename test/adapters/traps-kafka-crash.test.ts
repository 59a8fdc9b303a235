import { randomUUID } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { CompressionCodecs, CompressionTypes } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until as conditionally } from '../conformance/until.ts';
import { brokers, connect, consume, library, message, publish, textOf, topologyOf, until } from './kafka-fixture.ts';
import { connect as connectClient } from './traps-connect.ts';

interface Codec {
  readonly type: CompressionTypes;
  readonly squeeze: (plain: Buffer) => Buffer;
  readonly expand: (squeezed: Buffer) => Buffer;
}

/*
 * Valid for every reader, and never smaller: snappy as one literal, lz4 as a frame of one stored block. Both know the
 * length of what they hold in advance.
 */
const codecs: Readonly<Record<string, Codec>> = {
  snappy: {
    type: CompressionTypes.Snappy,
    squeeze: (plain) => {
      const length = [];
      for (let rest = plain.length; ; rest >>>= 7) {
        length.push(rest > 127 ? (rest & 127) | 128 : rest);
        if (rest <= 127) break;
      }
      const literal = Buffer.alloc(3, 61 << 2);
      literal.writeUInt16LE(plain.length - 1, 1);
      return Buffer.concat([Buffer.from(length), literal, plain]);
    },
    expand: (squeezed) => squeezed.subarray(squeezed.indexOf(61 << 2) + 3),
  },
  lz4: {
    type: CompressionTypes.LZ4,
    squeeze: (plain) => {
      const size = Buffer.alloc(4);
      size.writeUInt32LE((0x80000000 | plain.length) >>> 0);
      return Buffer.concat([Buffer.from('04224d18604082', 'hex'), size, plain, Buffer.alloc(4)]);
    },
    expand: (squeezed) => squeezed.subarray(11, -4),
  },
  zstd: { type: CompressionTypes.ZSTD, squeeze: zstdCompressSync, expand: zstdDecompressSync },
};

/** Its declaration knows the types by number alone. */
const registry = CompressionCodecs as unknown as Record<CompressionTypes, () => object>;

describe('a handler that fails by a mistake of its own', () => {
  it('Trap 14: a TypeError, which ends a kafkajs consumer when it gets there, costs its message attempts and nobody else anything', async () => {
    await using client = await connectClient({ adapter: kafka({ brokers }) });
    const topic = defineTopic<{ n?: { m: string } }>(`trap-${randomUUID()}`, { groups: { g: {} }, partitions: 1 });
    const handled: string[] = [];
    const attempts: string[] = [];
    await client.consume(
      topic,
      { group: 'g', retry: { immediate: { retries: 1, firstMs: 1 }, delays: [50] } },
      ({ id, payload }) => {
        attempts.push(id);
        handled.push(payload.n!.m.padEnd(3, id));
      },
    );
    for (let n = 0; n < 10; n++) await client.publish(topic, n % 2 === 0 ? { n: { m: '' } } : {}, { id: `m-${n}` });
    await conditionally('the good are handled', () => handled.length === 5);
    await conditionally('the bad are dead', async () => (await client.deadLetters(topic, 'g').count()) === 5);
    expect(attempts.filter((id) => id === 'm-1')).toHaveLength(4);
    expect((await client.health()).ready).toBe(true);
    await client.publish(topic, { n: { m: '' } }, { id: 'last' });
    await conditionally('it goes on', () => handled.length === 6);
  });
});

describe('a batch that the client library cannot read', () => {
  it.each(Object.entries(codecs))(
    'Trap 15: (%s) is an event and red health with its reason, not silence; what can be read by then is read',
    async (name, { type, squeeze, expand }) => {
      const { adapter, events } = await connect();
      const topology = topologyOf({ partitions: 1 });
      await adapter.declare(topology);
      await publish(adapter, [message(topology, 'before')]);
      const unknown = registry[type];
      const known = () => ({
        compress: async ({ buffer }: { buffer: Buffer }) => squeeze(buffer),
        decompress: async (buffer: Buffer) => expand(buffer),
      });
      try {
        registry[type] = known;
        const producer = library().producer();
        await producer.connect();
        await producer.send({ topic: topology.topic, compression: type, messages: [{ value: 'squeezed' }] });
        await producer.disconnect();
        registry[type] = unknown;
        await publish(adapter, [message(topology, 'after')]);

        const { got, source } = await consume(adapter, topology);
        const said = new RegExp(`compression|${name}`, 'i');
        await until(async () =>
          (await adapter.health()).checks.some(({ ok, detail }) => !ok && said.test(detail ?? '')),
        );
        expect(events.some((event) => event.type === 'disconnected' && said.test(event.detail ?? ''))).toBe(true);
        expect(got.map(textOf)).not.toContain('after');

        registry[type] = known;
        await until(
          () => got.some((one) => textOf(one) === 'after'),
          () => got.map(textOf),
        );
        expect([...new Set(got.map(textOf))]).toEqual(['before', 'squeezed', 'after']);
        await until(async () => (await adapter.health()).checks.every(({ ok }) => ok));
        await source.stop();
      } finally {
        registry[type] = unknown;
      }
    },
  );
});
