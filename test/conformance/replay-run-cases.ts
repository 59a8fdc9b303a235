import assert from 'node:assert/strict';
import type { Replayed } from '../../src/dead-letters.ts';
import { DeadLetter, isHoldfastError } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import { bury } from './bury.ts';
import { lettersOf } from './dead-letter-cases.ts';
import { assertOnce, type Order } from './ledger.ts';
import { operatorCrashCases } from './operator-crash-cases.ts';
import type { Suite } from './options.ts';
import { calm, scriptedTopic } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** Replays that are watched, gone on with, done by two at once, or edited. */
export function replayRunCases(suite: Suite): void {
  operatorCrashCases(suite);
  suite.case('a run that is gone on with replays no letter twice, also when all come back', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    await bury(world, client, script, 12);
    // Ahead of the consumers' clocks, so that times alone would not tell what has come back.
    const startedAt = new Date(Date.now() + 60_000);
    const { started } = await world.consume(client, topic, calm('g'), () => {
      throw new DeadLetter('bad again');
    });
    const abort = new AbortController();
    const letters = client.deadLetters(topic, 'g');
    const replaying = letters.replay({ startedAt, ratePerSecond: 50, signal: abort.signal });
    replaying.catch(() => undefined);
    await started.count(3);
    abort.abort(new Error('enough'));
    await assert.rejects(replaying, /enough/);
    const other = (await world.client()).deadLetters(topic, 'g');
    const run = (): Promise<Replayed | undefined> => other.replay({ startedAt }).catch(() => undefined);
    await until('all have been replayed', async () => (await run()) !== undefined && started.ids().size === 12);
    await until('all are back', async () => (await letters.count({ where: { reason: 'bad again' } })) === 12);
    assert.deepEqual(await other.replay({ startedAt }), { replayed: 0, startedAt });
    assertOnce(started);
  });

  suite.case(
    'a canary that comes back halts the replay, and the others stay; one that does not lets them go',
    async (world) => {
      const script = world.script();
      const topic = scriptedTopic(script);
      const client = await world.client();
      const ids = await bury(world, client, script, 10);
      let broken = true;
      const { started, handled } = await world.consume(client, topic, calm('g'), () => {
        if (broken) throw new DeadLetter('bad again');
      });
      const letters = client.deadLetters(topic, 'g');
      const result = await letters.replay({ canary: { count: 2, watchMs: 60_000 } });
      assert.equal(result.replayed, 2);
      assert.match(result.halted?.reason ?? 'went on', /of 2 came back as dead letters: bad again/);
      await until('the canary is back', async () => (await letters.count()) === 10);
      assert.equal(started.entries.length, 2);
      broken = false;
      const on = await letters.replay({
        canary: { count: 2, watchMs: 60_000, check: () => handled.entries.length >= 2 || undefined },
      });
      assert.deepEqual([on.replayed, on.halted], [10, undefined]);
      await handled.all(ids);
      assertOnce(handled);
      assert.equal(await letters.count(), 0);
    },
  );

  suite.case(
    'S29: of two who replay at once each letter is sent by one, or the second is refused as busy',
    async (world) => {
      const script = world.script();
      const topic = scriptedTopic(script);
      const clients = [await world.client(), await world.client()];
      const ids = await bury(world, clients[0]!, script, 40);
      const { handled } = await world.consume(clients[0]!, topic, calm('g'));
      const results = await Promise.allSettled(
        clients.map((client) => client.deadLetters(topic, 'g').replay({ ratePerSecond: 200 })),
      );
      let replayed = 0;
      for (const result of results) {
        if (result.status === 'fulfilled') replayed += result.value.replayed;
        else assert.ok(isHoldfastError(result.reason) && result.reason.code === 'busy', String(result.reason));
      }
      assert.equal(replayed, 40);
      await handled.all(ids);
      assert.equal(await clients[0]!.deadLetters(topic, 'g').count(), 0);
      assertOnce(handled);
    },
  );

  suite.case('S12: an edited letter is a new message of its group alone, which says what it was', async (world) => {
    const script = world.script({ groups: { g: 'none', other: 'none' } });
    const topic = scriptedTopic(script);
    const client = await world.client();
    const ids = await bury(world, client, script, 4);
    const other = await world.consume(client, topic, calm('other'));
    await other.handled.all(ids);
    const messages: Message<Order>[] = [];
    const { handled } = await world.consume(client, topic, calm('g'), (message) => void messages.push(message));
    const letters = client.deadLetters(topic, 'g');
    const edit = ({ id }: { readonly id: string }) =>
      id === 'm-0' ? undefined : { payload: { n: 100 + Number(id.slice(2)), key: 'edited' } };
    await assert.rejects(letters.replay({ edit: () => ({ body: Buffer.from('{') }) }), /undecodable|is not/);
    assert.equal(await letters.count(), 4);
    assert.deepEqual(await letters.replay({ edit }), { replayed: 4 });
    await handled.count(4);
    assert.deepEqual(handled.entries.map(({ n, key }) => [n, key]).sort(), [
      [0, 'no-0'],
      [101, 'edited'],
      [102, 'edited'],
      [103, 'edited'],
    ]);
    for (const message of messages) {
      const was = message.headers['causation-id'];
      if (message.id === 'm-0') assert.equal(was, undefined);
      else assert.equal(was, `m-${message.payload.n - 100}`);
      assert.equal(message.headers.trace, 'ü-1');
      assert.deepEqual([message.source, message.attempt], ['conformance', 1]);
    }
    assert.equal(new Set([...ids, ...handled.ids()]).size, 7, 'three new ids');
    assert.equal(await letters.count(), 0);
    assert.equal(other.handled.entries.length, 4);
  });

  if (suite.capabilities.order === 'none') return;
  suite.case(
    'an edited letter of an ordered group comes behind its new key’s messages, in their shard',
    async (world) => {
      const script = world.script({
        groups: { g: 'key' },
        partitions: 4,
        lanes: suite.capabilities.priority !== 'none',
      });
      const topic = scriptedTopic(script);
      const client = await world.client();
      await client.publish(topic, { n: 0, key: 'typo' }, { id: 'm-0' });
      const first = await world.consume(client, topic, calm('g'), () => {
        throw new DeadLetter('bad');
      });
      await until('it is dead', async () => (await client.deadLetters(topic, 'g').count()) === 1);
      await first.consumer.close();
      const { handled } = await world.consume(client, topic, calm('g'));
      const orders = Array.from({ length: 20 }, (_, n) => ({ n: n + 1, key: `key-${n % 5}` }));
      for (const result of await client.publishAll(topic, orders, ({ n }) => ({ id: `m-${n}` }))) assert.ok(result.ok);
      for (let round = 0; round < 3; round += 1) {
        await client.deadLetters(topic, 'g').replay({ edit: () => ({ payload: { n: 50, key: 'key-3' } }) });
      }
      await handled.count(21);
      assert.deepEqual(
        handled.entries.filter(({ n }) => n === 50).map(({ key }) => key),
        ['key-3'],
      );
      assert.deepEqual(await lettersOf(client, topic), []);
      assertOnce(handled);
      await publishOrders(client, topic, 1, { prefix: 'last-', from: 60 });
      await handled.all(['last-60']);
    },
  );
}
