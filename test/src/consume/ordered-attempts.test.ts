import { describe, expect, it } from 'vitest';
import { memory, memoryBroker } from '../../../adapters/memory/index.ts';
import { connect, defineTopic } from '../../../src/index.ts';

const topic = defineTopic<number>('jobs', { key: () => 'k', groups: { g: { order: 'key' } } });

describe('G8: attempts of ordered groups', () => {
  it.each(['crash', 'close'] as const)('that failed survive a %s of their process', async (how) => {
    const broker = memoryBroker();
    const whole = memory({ broker });
    const [one, two] = [await connect({ adapter: whole }), await connect({ adapter: memory({ broker }) })];
    const attempts: number[] = [];
    const fail = ({ attempt }: { readonly attempt: number }): void => {
      attempts.push(attempt);
      throw new Error('no');
    };
    const retry = { immediate: { retries: 1, firstMs: 1 }, delays: [1, 600_000] };
    await one.consume(topic, { group: 'g', retry }, fail);
    await one.publish(topic, 1);
    await expect.poll(() => attempts).toEqual([1, 2, 3, 4]);
    // Held for its third round, with its calls counted on the broker.
    await new Promise((resolve) => setImmediate(resolve));
    if (how === 'crash') whole.crash();
    await one.close({ drainMs: 0 });
    await two.consume(topic, { group: 'g', retry: { ...retry, delays: [1, 1] } }, fail);
    await expect.poll(() => two.backlog(topic, 'g')).toMatchObject({ dead: 1 });
    expect(attempts).toEqual([1, 2, 3, 4, 5, 6]);
    await two.close();
  });

  it('that failed just before a close are counted with it, though no retry was due yet', async () => {
    const broker = memoryBroker();
    const [one, two] = [await connect({ adapter: memory({ broker }) }), await connect({ adapter: memory({ broker }) })];
    const attempts: number[] = [];
    const retry = { immediate: { retries: 1, firstMs: 600_000 }, delays: [] };
    await one.consume(topic, { group: 'g', retry }, ({ attempt }) => {
      attempts.push(attempt);
      throw new Error('no');
    });
    await one.publish(topic, 1);
    await expect.poll(() => attempts).toEqual([1]);
    await one.close({ drainMs: 0 });
    await two.consume(topic, { group: 'g', retry }, ({ attempt }) => void attempts.push(attempt));
    await expect.poll(() => attempts).toEqual([1, 2]);
    await two.close();
  });
});
