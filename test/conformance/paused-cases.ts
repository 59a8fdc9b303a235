import assert from 'node:assert/strict';
import type { Suite } from './options.ts';
import { type ConsumeScript, quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';

const OPTIONS: ConsumeScript = { ...quick('g', 2, [100, 100]), concurrency: 5, prefetch: 5 };

/** A process that stands still, as a laptop that sleeps or a machine without memory. */
export function pausedCases(suite: Suite): void {
  // Elsewhere there is no process of its own to be paused.
  if (!suite.capabilities.multiProcess) return;
  suite.case(
    'Trap 46: paused beyond its lease or session, its messages go to another; awake again it goes on',
    async (world) => {
      const script = world.script({ partitions: 4 });
      const topic = scriptedTopic(script);
      const sleeper = await world.victim('sleeper');
      const other = await world.client();
      const elsewhere = world.topic();
      await other.publish(elsewhere, { n: 0 });
      let published = 0;
      async function publish(count: number): Promise<void> {
        const numbers = Array.from({ length: count }, () => published++);
        await Promise.all(numbers.map((n) => other.publish(topic, { n }, { id: `m-${n}` })));
      }
      const handled = new Set<string>();
      const allHandled = (): boolean => sleeper.handled.ids().union(handled).size === published;
      const allSettled = async (): Promise<boolean> => {
        const { ready = 0, inFlight = 0, delayed = 0 } = await other.backlog(topic, 'g');
        return ready + inFlight + delayed === 0;
      };

      await publish(60);
      await sleeper.consume(script, OPTIONS, { upToMs: 200 });
      await sleeper.handled.count(5);
      await pause(sleeper.pid!, () => other.publish(elsewhere, { n: 0 }, { timeoutMs: 2_000 }));
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
      assert.ok(sleeper.handled.entries.length >= before + 20);
      await until('all are settled', allSettled);
      assert.equal(await other.deadLetters(topic, 'g').count(), 0);
      await sleeper.close();
    },
    150_000,
  );
}

/** Where the broker is a file, whoever is paused inside a write holds its lock, and all stand still: that is another story. */
async function pause(pid: number, write: () => Promise<unknown>): Promise<void> {
  await until('it is paused outside a write', async () => {
    process.kill(pid, 'SIGSTOP');
    const written = await write().then(
      () => true,
      () => false,
    );
    if (!written) process.kill(pid, 'SIGCONT');
    return written;
  });
}
