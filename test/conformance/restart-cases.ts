import assert from 'node:assert/strict';
import type { Client } from '../../src/client.ts';
import { isHoldfastError } from '../../src/errors.ts';
import { assertNoPhantom } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';

interface Published {
  readonly id: string;
  readonly deadline: number;
  settledAt: number | undefined;
  outcome: 'confirmed' | 'not-sent' | 'unknown' | undefined;
}

/** The broker is killed amid publishing and handling, and comes back. */
export function restartCases(suite: Suite): void {
  if (suite.server === undefined) return;

  suite.case(
    'G2: over a kill and restart of the broker every publish has its outcome in time, all confirmed are handled, and consumers go on by themselves',
    async (world) => {
      const server = await world.server();
      const topic = world.topic();
      const open = (): Promise<Client> => world.client({ adapter: server.adapter() });
      const [publisher, consuming] = await Promise.all([open(), open()]);
      const hold = world.gate();
      const options = { ...quick('g', 0, [200, 200]), concurrency: 40 };
      const { started, handled } = await world.consume(consuming, topic, options, ({ payload }) =>
        payload.n % 10 === 9 ? hold.opened : undefined,
      );

      const published: Published[] = [];
      const pending = (): number => published.filter(({ settledAt }) => settledAt === undefined).length;
      function publish(timeoutMs: number): void {
        const n = published.length;
        const entry: Published = {
          id: `m-${n}`,
          deadline: performance.now() + timeoutMs,
          settledAt: undefined,
          outcome: undefined,
        };
        published.push(entry);
        publisher.publish(topic, { n }, { id: entry.id, timeoutMs }).then(
          () => settle(entry, 'confirmed'),
          (error: unknown) => settle(entry, isHoldfastError(error) ? error.outcome! : 'unknown'),
        );
      }
      let feeding = true;
      function settle(entry: Published, outcome: NonNullable<Published['outcome']>): void {
        entry.settledAt = performance.now();
        entry.outcome = outcome;
        // As many outstanding as ever, until the broker is dead.
        if (feeding && outcome === 'confirmed') publish(30_000);
      }
      const running = (): number => started.entries.length - handled.entries.length;

      for (let n = 0; n < 500; n += 1) publish(30_000);
      // RabbitMQ (4.0, one node) registers a new quorum queue on disk up to half a second late: killed before, it comes
      // back without what the queue held. That is no matter of ours to test, so the queue is older.
      const flowing = performance.now();
      await until(
        'handlers hold messages and publishes flow',
        () => running() >= 20 && published.length > 1_500 && performance.now() > flowing + 2_000,
      );
      await server.kill();
      feeding = false;
      assert.ok(pending() >= 100, `${pending()} publishes were unconfirmed when the broker died`);
      assert.ok(running() >= 10, `${running()} deliveries were unsettled when the broker died`);
      hold.open();
      // While it is down some give up, by their own deadline.
      for (let n = 0; n < 20; n += 1) publish(1_000);
      await until('the impatient have their outcome', () =>
        published.slice(-20).every(({ settledAt }) => settledAt !== undefined),
      );
      assert.ok(!published.slice(-20).some(({ outcome }) => outcome === 'confirmed'));
      await until('health is red', async () => !(await publisher.health()).ready);
      assert.equal((await publisher.health()).live, true, 'a broker that is down is no reason to restart us');
      await server.restart();

      await until('every publish has its outcome', () => pending() === 0);
      const late = published.filter(({ settledAt, deadline }) => settledAt! > deadline + 1_000);
      assert.deepEqual(late, [], 'later than the deadline and one second');
      const confirmed = published.filter(({ outcome }) => outcome === 'confirmed').map(({ id }) => id);
      await handled.all(confirmed);
      assertNoPhantom(
        handled,
        published.map(({ id }) => id),
      );
      const notSent = published.filter(({ outcome }) => outcome === 'not-sent').map(({ id }) => id);
      assert.deepEqual(
        notSent.filter((id) => handled.ids().has(id)),
        [],
        'said to be not sent, yet handled',
      );

      const { id } = await publishAgain(() => publisher.publish(topic, { n: 0 }, { id: 'after' }));
      await handled.all([id]);
      await until('health is green', async () => (await publisher.health()).ready && (await consuming.health()).ready);
    },
    120_000,
  );
}

/** The circuit may still be open for a moment. */
async function publishAgain<T>(publish: () => Promise<T>): Promise<T> {
  let result: T | undefined;
  await until('the circuit is closed', async () => {
    try {
      result = await publish();
      return true;
    } catch (error) {
      if (isHoldfastError(error) && error.code === 'circuit-open') return false;
      throw error;
    }
  });
  return result!;
}
