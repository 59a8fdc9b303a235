import assert from 'node:assert/strict';
import { isHoldfastError } from '../../src/errors.ts';
import { lettersOf } from './dead-letter-cases.ts';
import type { Handling } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** The life of one handler call. */
export function deadlineCases(suite: Suite): void {
  suite.case(
    'a handler that outlives its deadline is aborted and tried again, and its late result means nothing',
    async (world) => {
      const topic = world.topic();
      const client = await world.client();
      const late = world.gate();
      const signals: AbortSignal[] = [];
      let returned = false;
      const { handled } = await world.consume(
        client,
        topic,
        { ...quick('g', 0, [50]), timeoutMs: 200 },
        async ({ attempt }, { signal }) => {
          signals.push(signal);
          if (attempt > 1) return;
          // It ignores its signal.
          await late.opened;
          returned = true;
          throw new Error('too late to matter');
        },
      );
      const ids = await publishOrders(client, topic, 1);
      await handled.all(ids);
      assert.equal(signals[0]!.aborted, true);
      assert.ok(isHoldfastError(signals[0]!.reason) && signals[0]!.reason.code === 'handler-timeout');
      late.open();
      await until('the late one has returned', () => returned);
      const more = await publishOrders(client, topic, 1, { prefix: 'more-' });
      await handled.all(more);
      assert.equal(handled.of(ids[0]!).length, 1);
      assert.equal(await client.deadLetters(topic, 'g').count(), 0);
    },
  );

  suite.case('a handler that always outlives its deadline ends as a dead letter with reason timeout', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const hold = world.gate();
    await world.consume(client, topic, { ...quick('g', 1), timeoutMs: 100 }, () => hold.opened);
    await publishOrders(client, topic, 1);
    await until('it is a dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
    const [letter] = await lettersOf(client, topic);
    assert.deepEqual({ reason: letter!.reason, attempts: letter!.attempts }, { reason: 'timeout', attempts: 2 });
  });

  suite.case('each call has a signal of its own, which stays quiet when the handler returns', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const signals: AbortSignal[] = [];
    const { handled } = await world.consume(client, topic, quick('g'), (_, { signal }) => void signals.push(signal));
    const ids = await publishOrders(client, topic, 10);
    await handled.all(ids);
    await client.close();
    assert.equal(new Set(signals).size, 10);
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      signals.map(() => false),
    );
  });

  suite.case('a handler that runs longer than its lease is not handled elsewhere meanwhile', async (world) => {
    const topic = world.topic();
    const watched = await Promise.all([world.watched(), world.watched()]);
    const one = watched[0].client;
    const enough = world.gate();
    // So long that a machine which is busy for two seconds has not lost it.
    const leaseMs = 4_000;
    const consumed = await Promise.all(
      watched.map(({ client }) => world.consume(client, topic, { ...quick('g'), leaseMs }, () => enough.opened)),
    );
    const calls = (): readonly Handling[] => consumed.flatMap(({ started }) => started.entries);
    const ended = (): readonly Handling[] => consumed.flatMap(({ handled }) => handled.entries);
    await publishOrders(one, topic, 1);
    await until('it is being handled', () => calls().length > 0);
    const since = performance.now();
    // Each after a third of it at the earliest; without leases there is nothing but time to wait for.
    await until('it lasts longer', () =>
      suite.capabilities.leases ? watched.some(({ seen }) => seen.renewals >= 5) : performance.now() - since > leaseMs,
    );
    enough.open();
    await until('it is handled', () => ended().length > 0);
    await publishOrders(one, topic, 1, { prefix: 'after-' });
    await until('the next is handled', () => ended().some(({ id }) => id === 'after-0'));
    assert.equal(calls().length, 2);
  });
}
