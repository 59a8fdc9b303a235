/**
 * `npm run bench [-- rabbitmq kafka redis]`: the raw client as an expert uses it and holdfast, side by side in one run on
 * the same broker: 1 KB JSON, durable settings, confirms awaited. Compare the ratios, never figures of two runs.
 */

import { kafka } from '../adapters/kafka/index.ts';
import { rabbitmq } from '../adapters/rabbitmq/index.ts';
import { redis } from '../adapters/redis/index.ts';
import { startServer } from '../test/fleet/index.ts';
import type { Rival, Scenario } from './contender.ts';
import { holdfast } from './contenders/holdfast.ts';
import { PARTITIONS, rawKafka } from './contenders/kafka.ts';
import { rawRabbitmq } from './contenders/rabbitmq.ts';
import { rawRedis } from './contenders/redis.ts';
import { memoryGrowth } from './memory.ts';
import { compare, percentile, type Row, table } from './table.ts';

const ROUNDS = 3;
const PUBLISH_SECONDS = 3;
const CALLERS = 500;
const CONSUME = 40_000;
const RATE = 1_000;
const RATE_SECONDS = 5;

type Broker = Scenario['broker'];
const known: readonly Broker[] = ['rabbitmq', 'kafka', 'redis'];
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !known.includes(name as Broker));
if (unknown.length > 0) {
  console.error(`bench: unknown broker ${unknown.join(', ')}; known are ${known.join(', ')}`);
  process.exit(2);
}

function scenario(broker: Broker, url: string): Scenario {
  switch (broker) {
    case 'rabbitmq':
      return { broker, raw: rawRabbitmq(url), holdfast: holdfast(() => rabbitmq({ url })) };
    case 'redis':
      return { broker, raw: rawRedis(url), holdfast: holdfast(() => redis({ url })) };
    default: {
      const brokers = [url.replace('kafka://', '')];
      return {
        broker,
        raw: rawKafka(brokers, 'arrays'),
        single: rawKafka(brokers, 'single'),
        holdfast: holdfast(() => kafka({ brokers }), PARTITIONS),
      };
    }
  }
}

async function on<T>(rival: Rival, work: (contender: Awaited<ReturnType<Rival['open']>>) => Promise<T>): Promise<T> {
  const contender = await rival.open();
  try {
    return await work(contender);
  } finally {
    await contender.close();
    globalThis.gc?.();
  }
}

const publishRate = (rival: Rival): Promise<number> =>
  on(rival, async (contender) => {
    await contender.publish(CALLERS, 0.5);
    return (await contender.publish(CALLERS, PUBLISH_SECONDS)) / PUBLISH_SECONDS;
  });

const consumeRate = (rival: Rival): Promise<number> =>
  on(rival, async (contender) => {
    let filled = 0;
    while (filled < CONSUME) filled += await contender.publish(CALLERS, 0.5);
    return contender.consume(CONSUME);
  });

const latencies = (rival: Rival): Promise<readonly number[]> =>
  on(rival, async (contender) => (await contender.latency(RATE, RATE_SECONDS)).slice(RATE / 2));

async function measure({ broker, raw, holdfast: ours, single }: Scenario): Promise<readonly Row[]> {
  const figures = new Map<string, { raw: number[]; ours: number[] }>();
  const note = (name: string, side: 'raw' | 'ours', value: number): void => {
    const entry = figures.get(name) ?? { raw: [], ours: [] };
    entry[side].push(value);
    figures.set(name, entry);
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [side, rival] of [
      ['raw', raw],
      ['ours', ours],
    ] as const) {
      note(`publish, ${CALLERS} callers, msg/s`, side, await publishRate(rival));
      note('consume with acks, msg/s', side, await consumeRate(rival));
      const times = await latencies(rival);
      note(`end to end at ${RATE}/s, p50 ms`, side, percentile(times, 0.5));
      note(`end to end at ${RATE}/s, p99 ms`, side, percentile(times, 0.99));
    }
    if (single !== undefined) {
      const name = `publish, ${CALLERS} callers, against ${single.name}`;
      note(name, 'raw', await publishRate(single));
      note(name, 'ours', await publishRate(ours));
    }
  }
  return [...figures].map(([name, { raw: theirs, ours: own }]) => compare(broker, name, theirs, own));
}

const rows: Row[] = [];
for (const broker of asked.length === 0 ? known : known.filter((name) => asked.includes(name))) {
  const server = await startServer(broker);
  try {
    const settings = scenario(broker, server.url);
    rows.push(...(await measure(settings)));
    rows.push(await memoryGrowth(broker, settings.holdfast));
  } finally {
    await server.stop();
  }
}
console.log(table(rows));
