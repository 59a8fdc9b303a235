import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { partitionOf } from '../../src/index.ts';

/** Of a whole hash: a modulus that changes none of its 31 bits but one value. */
const hashOf = (key: string): number => partitionOf(key, 0x7fffffff);

describe('partitionOf', () => {
  // org.apache.kafka.common.utils.UtilsTest, testMurmur2.
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('agrees with Kafka on %j', (key, murmur2) => {
    expect(hashOf(key)).toBe((murmur2 & 0x7fffffff) % 0x7fffffff);
  });

  it('is a partition that there is, and always the same', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.integer({ min: 1, max: 1024 }),
        (key, partitions) => {
          const partition = partitionOf(key, partitions);
          expect(partition).toBe(partitionOf(key, partitions));
          expect(Number.isInteger(partition) && partition >= 0 && partition < partitions).toBe(true);
        },
      ),
    );
  });

  it('spreads keys evenly', () => {
    const counts = new Array<number>(6).fill(0);
    for (let n = 0; n < 6_000; n += 1) counts[partitionOf(`order-${n}`, 6)]! += 1;
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});
