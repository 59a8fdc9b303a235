import { connect, defineTopic } from 'holdfast';
import { memory, memoryBroker } from 'holdfast/memory';
import { expect, it } from 'vitest';

it('S17: attempts that failed before a close are still counted by the next consumer', async () => {
  const broker = memoryBroker();
  const topic = defineTopic<string>('attempts.close', { groups: ['g'] });
  // The second attempt would come in an hour: the close comes first.
  const retry = { immediate: { retries: 3, firstMs: 3_600_000, maxMs: 3_600_000 }, delays: [] };

  const first = await connect({ adapter: memory({ broker }) });
  const failed = Promise.withResolvers<void>();
  first.on('failed', () => failed.resolve());
  await first.consume(topic, { group: 'g', retry }, () => {
    throw new Error('not yet');
  });
  await first.publish(topic, 'x');
  await failed.promise;
  await first.close({ drainMs: 0 });

  await using second = await connect({ adapter: memory({ broker }) });
  const { promise, resolve } = Promise.withResolvers<number>();
  await second.consume(topic, { group: 'g', retry }, ({ attempt }) => resolve(attempt));
  expect(await promise).toBe(2);
});
