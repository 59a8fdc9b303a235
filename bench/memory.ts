import type { Rival, Scenario } from './contender.ts';
import type { Row } from './table.ts';

const MESSAGES = 200_000;
const STEP = 20_000;

/** Live heap and buffers after collection, while 200,000 messages are published and consumed: the second half against the first. */
export async function memoryGrowth(broker: Scenario['broker'], rival: Rival): Promise<Row> {
  const contender = await rival.open();
  const samples: number[] = [];
  let done = 0;
  while (done < MESSAGES) {
    let filled = 0;
    while (filled < STEP) filled += await contender.publish(500, 0.2);
    await contender.consume(filled);
    done += filled;
    globalThis.gc?.();
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    samples.push((heapUsed + Math.max(external, arrayBuffers)) / 1024 / 1024);
  }
  await contender.close();
  const half = Math.floor(samples.length / 2);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const first = mean(samples.slice(1, half));
  const second = mean(samples.slice(half));
  return {
    broker,
    name: `live memory over ${MESSAGES} messages, MiB: first half, second half`,
    raw: first,
    ours: second,
    ratio: second / first,
    spread: `${Math.min(...samples).toFixed(1)}–${Math.max(...samples).toFixed(1)}`,
  };
}
