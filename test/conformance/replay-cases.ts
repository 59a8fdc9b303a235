import assert from 'node:assert/strict';
import { DeadLetter } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import { bury } from './bury.ts';
import { lettersOf } from './dead-letter-cases.ts';
import { assertNoPhantom } from './ledger.ts';
import type { Suite } from './options.ts';
import { replayRunCases } from './replay-run-cases.ts';
import { quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';

/** Dead letters back to where they failed. */
export function replayCases(suite: Suite): void {
  replayRunCases(suite);
  suite.case(
    'a replayed letter is handled with its id, key and headers, attempts from 1, by its own group alone',
    async (world) => {
      const script = world.script({ groups: { g: 'none', other: 'none' } });
      const topic = scriptedTopic(script);
      const client = await world.client();
      const other = await world.consume(client, topic, quick('other'));
      const ids = await bury(world, client, script, 5);
      await other.handled.all(ids);
      const messages: Message[] = [];
      const { handled } = await world.consume(client, topic, quick('g'), (message) => void messages.push(message));
      const letters = client.deadLetters(topic, 'g');
      assert.deepEqual(await letters.replay({ dryRun: true }), { replayed: 5 });
      assert.equal(handled.entries.length, 0);
      assert.deepEqual(await letters.replay(), { replayed: 5 });
      await handled.all(ids);
      for (const [n, id] of ids.entries()) {
        const message = messages.find((each) => each.id === id)!;
        assert.deepEqual(
          {
            payload: message.payload,
            key: message.key,
            source: message.source,
            headers: { ...message.headers },
            attempt: message.attempt,
          },
          { payload: { n }, key: `no-${n}`, source: 'conformance', headers: { trace: 'ü-1' }, attempt: 1 },
        );
      }
      assert.equal(await letters.count(), 0);
      assert.deepEqual(await letters.replay(), { replayed: 0 });
      assert.equal(other.handled.entries.length, 5);
    },
  );

  suite.case('replay of some leaves the others, and a letter that fails again comes back', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    await bury(world, client, script, 6);
    const { started, handled } = await world.consume(client, topic, quick('g'), ({ id }) => {
      if (id === 'm-1') throw new DeadLetter('bad again');
    });
    const letters = client.deadLetters(topic, 'g');
    assert.deepEqual(await letters.replay({ where: { ids: ['m-1', 'm-2'] } }), { replayed: 2 });
    await handled.all(['m-2']);
    await until('the bad one is back', async () => (await letters.count({ where: { reason: 'bad again' } })) === 1);
    assert.deepEqual((await lettersOf(client, topic)).map(({ id }) => id).sort(), ['m-0', 'm-1', 'm-3', 'm-4', 'm-5']);
    assert.deepEqual([...started.ids()].sort(), ['m-1', 'm-2']);
  });

  suite.case('Trap 50: a replay that is interrupted loses nothing', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    const ids = await bury(world, client, script, 40);
    const { handled } = await world.consume(client, topic, quick('g'));
    const abort = new AbortController();
    const letters = client.deadLetters(topic, 'g');
    const replaying = letters.replay({ ratePerSecond: 20, signal: abort.signal });
    replaying.catch(() => undefined);
    await handled.count(3);
    abort.abort(new Error('enough'));
    await assert.rejects(replaying, /enough/);
    await until('each is handled or still a letter', async () => {
      const left = await lettersOf(client, topic);
      return new Set([...handled.ids(), ...left.map(({ id }) => id)]).size === 40;
    });
    assert.ok(handled.ids().size < 40, 'it was interrupted');
    await letters.replay();
    await handled.all(ids);
    assertNoPhantom(handled, ids);
    assert.equal(await letters.count(), 0);
  });

  suite.case('Trap 50: a replay whose process is killed loses nothing', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    const ids = await bury(world, client, script, 40);
    const { handled } = await world.consume(client, topic, quick('g'));
    const victim = await world.victim('replays');
    victim.replay(script, 'g', 20);
    await handled.count(3);
    await victim.kill();
    const letters = client.deadLetters(topic, 'g');
    // A lock or lease of the dead may have to run out first.
    // And what was replayed without its letter being removed is there once more.
    await until('the rest is replayed, and no letter is left', async () => {
      const left = await letters
        .replay()
        .then(() => letters.count())
        .catch(() => undefined);
      return left === 0 && handled.ids().size === 40;
    });
    assertNoPhantom(handled, ids);
  });

  suite.case('leaving the list early takes nothing away', async (world) => {
    const script = world.script();
    const topic = scriptedTopic(script);
    const client = await world.client();
    await bury(world, client, script, 10);
    for await (const letter of client.deadLetters(topic, 'g').list()) {
      assert.ok(letter.id);
      break;
    }
    assert.equal((await lettersOf(client, topic)).length, 10);
  });
}
