import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kafka } from '../../adapters/kafka/index.ts';
import { wholeFrames } from '../../adapters/kafka/kafkajs/frames.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until } from '../conformance/until.ts';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import { connect } from './traps-connect.ts';

const frame = (text: string): Buffer => {
  const body = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
};

function reader() {
  const passed: Buffer[] = [];
  let broken = 0;
  const read = wholeFrames(
    (data) => passed.push(data),
    () => broken++,
  );
  return { read, passed, broken: () => broken };
}

describe('answers of a Kafka broker', () => {
  const sent = Buffer.concat(['', 'a', 'bcd', 'x'.repeat(300), '', 'end'].map(frame));
  const ends = [4, 9, 16, 320, 324, 331];

  it('are passed on whole, in order and without delay, however the network cuts them', () => {
    for (let first = 1; first < sent.length; first++) {
      for (const second of [first, first + 1, first + 4, first + 5].filter((at) => at <= sent.length)) {
        const { read, passed, broken } = reader();
        let given = 0;
        for (const end of [first, second, sent.length]) {
          read(sent.subarray(given, end));
          given = end;
          const whole = ends.findLast((each) => each <= given) ?? 0;
          expect(Buffer.concat(passed).equals(sent.subarray(0, whole))).toBe(true);
        }
        expect(passed.filter((data) => data.length === 0)).toEqual([]);
        expect(broken()).toBe(0);
      }
    }
  });

  it('come byte by byte, too', () => {
    const { read, passed } = reader();
    for (const byte of sent) read(Buffer.of(byte));
    expect(passed.map((data) => data.length)).toEqual([4, 5, 7, 304, 4, 7]);
  });

  it('end where a length is negative, and nothing behind it is passed on', () => {
    const { read, passed, broken } = reader();
    read(Buffer.concat([frame('ok'), Buffer.from('ffffffff00', 'hex')]));
    read(frame('more'));
    expect(passed).toEqual([]);
    expect(broken()).toBe(1);
  });
});

describe('a connection that ends in the middle of an answer', () => {
  let fleet: Proxied;
  beforeAll(async () => {
    fleet = await startProxied('kafka', 1);
  }, 180_000);
  afterAll(() => fleet.stop());

  it('does not spoil the next one: requests, publishes and consumers go on, again and again', {
    timeout: 120_000,
  }, async () => {
    const proxy = fleet.proxies[0]!;
    const topic = defineTopic<string>(`frames-${randomUUID()}`, { groups: { g: {} } });
    await using client = await connect({
      adapter: kafka({ brokers: proxy.url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000 }),
    });
    const handled = new Set<string>();
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.add(id));
    for (const round of ['first', 'second', 'third', 'fourth']) {
      proxy.breakOff();
      await until('health is red', async () => !(await client.health()).ready);
      proxy.heal();
      await client.publish(topic, round, { id: round, timeoutMs: 20_000 });
      await until(`the ${round} is handled`, () => handled.has(round));
      await until('health is green', async () => (await client.health()).ready);
    }
  });
});
