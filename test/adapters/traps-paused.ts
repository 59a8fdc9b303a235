import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import { connect } from '../../src/connect.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { type ConsumeScript, scriptedTopic, type TopicScript } from '../conformance/script.ts';
import { until } from '../conformance/until.ts';
import { childProcess } from '../conformance/victim.ts';
import type { TrapFleet } from './traps-fleet.ts';

export interface PausedTrap {
  readonly fleet: TrapFleet;
  readonly usual: (url: string) => BrokerAdapter;
  /** Exports `adapter(url)` for the process that is paused. @default the one of the URL's scheme */
  readonly module?: string;
}

const OPTIONS: ConsumeScript = {
  group: 'g',
  concurrency: 5,
  prefetch: 5,
  leaseMs: 1_500,
  retry: { immediate: { retries: 2, firstMs: 1 }, delays: [100, 100] },
};

export function pausedTrap({ fleet, usual, module }: PausedTrap): void {
  describe(`${fleet.kind}: a process that is paused`, () => {
    it('Trap 46: paused beyond its lease or session, its messages go to another; awake again it goes on', {
      timeout: 150_000,
    }, async ({ expect }) => {
      const { url } = fleet.server();
      const script: TopicScript = { name: `trap-${randomUUID()}`, groups: { g: 'none' }, partitions: 4 };
      const topic = scriptedTopic(script);
      const child = module === undefined ? { url } : { url, module };
      const sleeper = await childProcess({ name: 'trap 46', child }, 'sleeper');
      const other = await connect({ adapter: usual(url) });
      try {
        let published = 0;
        const publish = async (count: number) => {
          const numbers = Array.from({ length: count }, () => published++);
          await Promise.all(numbers.map((n) => other.publish(topic, { n }, { id: `m-${n}` })));
        };
        const handled = new Set<string>();
        const allHandled = () => sleeper.handled.ids().union(handled).size === published;
        const allSettled = async () => {
          const { ready = 0, inFlight = 0, delayed = 0 } = await other.backlog(topic, 'g');
          return ready + inFlight + delayed === 0;
        };

        await publish(60);
        await sleeper.consume(script, OPTIONS, { upToMs: 200 });
        await sleeper.handled.count(5);
        process.kill(sleeper.pid!, 'SIGSTOP');
        const consumer = await other.consume(topic, OPTIONS, ({ id }) => void handled.add(id));
        await publish(20);
        await until('the other has handled what the sleeper held', allHandled, 60_000);

        process.kill(sleeper.pid!, 'SIGCONT');
        await publish(20);
        await until('all are handled', allHandled);
        await until('all are settled', allSettled);
        await consumer.close();
        const before = sleeper.handled.entries.length;
        await publish(20);
        await until('the sleeper handles alone', allHandled);
        expect(sleeper.handled.entries.length).toBeGreaterThanOrEqual(before + 20);
        await until('all are settled', allSettled);
        expect((await other.backlog(topic, 'g')).dead).toBe(0);
        await sleeper.close();
      } finally {
        await sleeper.kill();
        await other.close();
      }
    });
  });
}
