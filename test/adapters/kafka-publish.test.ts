import { expect, it } from 'vitest';
import type { BatchAnswer, PartitionBatch } from '../../adapters/kafka/client.ts';
import type { Context } from '../../adapters/kafka/context.ts';
import { publisher } from '../../adapters/kafka/publish.ts';
import { message, topologyOf } from './kafka-fixture.ts';

it('S9: behind a batch that was not stored nothing of its partition is sent; another partition goes on', async () => {
  const sent: string[] = [];
  const textsOf = ({ records }: PartitionBatch): string[] => records.map(({ value }) => String(value).slice(0, 2));
  const context = {
    settings: { wire: 'lean' },
    // Two messages fill a batch.
    topology: { batchBytes: () => 3_000 },
    sender: {
      async send(batches: readonly PartitionBatch[]): Promise<BatchAnswer[]> {
        sent.push(...batches.flatMap(textsOf));
        return batches.map((batch) =>
          textsOf(batch).includes('a2')
            ? { stored: 'maybe', error: new Error('connection lost') }
            : { stored: 'yes', offset: 7, appendedAt: undefined },
        );
      },
    },
  } as unknown as Context;
  const topology = topologyOf({ partitions: 2, ordered: true });
  const batch = Array.from({ length: 6 }, (_, n) =>
    ['a', 'b'].map((key, partition) => message(topology, `${key}${n}${'x'.repeat(1_000)}`, { key, partition })),
  ).flat();
  const outcomes = await publisher(context)(batch, Date.now() + 1_000);
  const kindsOf = (partition: number) => outcomes.filter((_, n) => n % 2 === partition).map(({ kind }) => kind);
  expect(kindsOf(0)).toEqual(['confirmed', 'confirmed', 'unknown', 'unknown', 'rejected', 'rejected']);
  expect(kindsOf(1)).toEqual(Array(6).fill('confirmed'));
  expect(sent.filter((text) => text.startsWith('a'))).toEqual(['a0', 'a1', 'a2', 'a3']);
});
