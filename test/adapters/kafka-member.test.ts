import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { kafkajsMember, type MemberParts } from '../../adapters/kafka/kafkajs/member.ts';

/** A kafkajs consumer that answers nothing; `joining` makes it ask to join first. */
function silentKafka(joining: boolean): { parts: MemberParts; lives: () => number } {
  let lives = 0;
  const silence = new Promise<never>(() => {});
  const consumer = (options: { partitionAssigners: ((c: object) => { protocol(p: object): unknown })[] }) => ({
    events: {},
    on: () => () => {},
    connect: () => {
      const cluster = { findGroupCoordinator: () => silence };
      const [assigner] = options.partitionAssigners.map((assign) => assign({ cluster }));
      if (joining) assigner!.protocol({ topics: [] });
      return silence;
    },
    disconnect: async () => {},
  });
  const parts = {
    fresh() {
      lives++;
      return { kafka: { consumer }, sockets: { kill() {} } };
    },
    codec: { MemberMetadata: { encode: () => Buffer.alloc(0) } },
    settings: { sessionTimeoutMs: 6_000, heartbeatIntervalMs: 2_000, maxWaitMs: 100 },
    leave: async () => {},
  };
  return { parts: parts as unknown as MemberParts, lives: () => lives };
}

describe('a consumer of kafkajs that hangs', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it.each([
    { when: 'before it asks to join', joining: false, withinMs: 40_000 },
    { when: 'while the group may be waiting for its last member', joining: true, withinMs: 100_000 },
  ])('$when is replaced within $withinMs ms, not earlier than it must', async ({ joining, withinMs }) => {
    const { parts, lives } = silentKafka(joining);
    const down: unknown[] = [];
    const { member, joined } = kafkajsMember(
      parts,
      { group: 'g', topics: ['t'], pools: [] },
      { rejoining: async () => {}, assigned() {}, records: async () => {}, down: (error) => down.push(error) },
    );
    const refused = expect(joined).rejects.toThrow('silent for too long');
    await vi.advanceTimersByTimeAsync(withinMs - 11_000);
    expect(lives()).toBe(1);
    await vi.advanceTimersByTimeAsync(11_000);
    expect(lives()).toBe(2);
    expect(down).toHaveLength(1);
    await refused;
    await member.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
