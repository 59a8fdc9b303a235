import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Client } from '../../src/client.ts';
import type { Letter } from '../../src/dead-letters.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { DeadLetter } from '../../src/errors.ts';
import type { BrokerAdapter, Outgoing } from '../../src/port.ts';
import { shapeOf, topologyOf } from '../../src/shape.ts';
import type { Topic } from '../../src/topic.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import { publishOrders, type World } from './world.ts';

export async function lettersOf(client: Client, topic: Topic, group = 'g'): Promise<readonly Letter[]> {
  const letters: Letter[] = [];
  for await (const letter of client.deadLetters(topic, group).list()) letters.push(letter);
  return letters;
}

/** Publishes bytes as a foreign or broken producer would: past the codec, by the port. */
export async function publishRaw(
  world: World,
  topic: Topic,
  body: Uint8Array,
  more: Partial<Outgoing> = {},
): Promise<void> {
  const adapter: BrokerAdapter = world.suite.adapter();
  const hooks = {
    instance: randomUUID(),
    clientName: 'conformance',
    declare: 'create',
    emit: () => undefined,
    crashPoint: undefined,
  } as const;
  await adapter.connect(hooks);
  try {
    const topology = topologyOf(shapeOf(topic), adapter.capabilities);
    await adapter.declare(topology);
    const message: Outgoing = {
      topology,
      id: randomUUID(),
      source: 'foreign',
      body,
      contentType: 'application/json',
      key: undefined,
      partition: undefined,
      lane: 'normal',
      dedupeKey: undefined,
      headers: {},
      publishedAt: Date.now(),
      expiresAt: undefined,
      delayMs: 0,
      ...more,
    };
    const outcomes = await adapter.publish([message], {
      deadline: Date.now() + 10_000,
      signal: new AbortController().signal,
    });
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['confirmed'],
    );
  } finally {
    await adapter.close();
  }
}

/** What is given up is kept, with all that helps to find out why. */
export function deadLetterCases(suite: Suite): void {
  suite.case(
    'G7: a dead letter keeps bytes, id, key and headers, and says why, when, where and after how many attempts',
    async (world) => {
      const topic = defineTopic<{ text: string }>(world.name(), { groups: ['g', 'other'] });
      const client = await world.client();
      const before = Date.now();
      await client.consume(topic, quick('g', 1, [50]), () => {
        throw new TypeError('no luck with amqp://user:secret@host/');
      });
      await client.publish(topic, { text: 'naïve 東京' }, { id: 'm-1', key: 'k-1', headers: { trace: 'ü-1' } });
      const letters = client.deadLetters(topic, 'g');
      await until('it is a dead letter', async () => (await letters.count()) === 1);
      const [letter] = await lettersOf(client, topic);
      assert.ok(letter !== undefined);
      assert.equal(letter.id, 'm-1');
      assert.equal(letter.key, 'k-1');
      assert.deepEqual({ ...letter.headers }, { trace: 'ü-1' });
      assert.equal(Buffer.from(letter.body).toString(), '{"text":"naïve 東京"}');
      assert.equal(letter.reason, 'failed');
      assert.equal(letter.attempts, 4);
      assert.match(letter.error ?? '', /TypeError.*no luck/);
      assert.doesNotMatch(letter.error ?? '', /secret/);
      assert.ok(letter.fingerprint);
      assert.ok(letter.origin);
      assert.ok(letter.host);
      assert.deepEqual([letter.topic, letter.group], [topic.name, 'g']);
      for (const time of [letter.firstFailedAt, letter.lastFailedAt, letter.deadAt]) {
        assert.ok(time !== undefined && time.getTime() >= before && time.getTime() <= Date.now(), String(time));
      }
      assert.equal(await client.deadLetters(topic, 'other').count(), 0);
    },
  );

  suite.case('a message that cannot be decoded is dead at once, with its bytes, and holds up nobody', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const garbage = Uint8Array.from([0xff, 0xfe, 0x00, 0x7b, 0x80]);
    await publishRaw(world, topic, garbage, { id: 'garbage' });
    const ids = await publishOrders(client, topic, 5);
    const { started, handled } = await world.consume(client, topic, quick('g', 3, [50]));
    await handled.all(ids);
    await until('it is a dead letter', async () => (await client.deadLetters(topic, 'g').count()) === 1);
    const [letter] = await lettersOf(client, topic);
    assert.equal(letter!.id, 'garbage');
    assert.equal(letter!.reason, 'undecodable');
    assert.equal(letter!.attempts, 0);
    assert.ok(Buffer.from(letter!.body).equals(garbage));
    assert.equal(started.of('garbage').length, 0);
  });

  suite.case('poison beside the good: every good message is handled, every bad one is found', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { handled } = await world.consume(client, topic, { ...quick('g', 1), concurrency: 4 }, ({ payload }) => {
      if (payload.n % 3 === 0) throw new DeadLetter('bad');
    });
    const ids = await publishOrders(client, topic, 90);
    await handled.all(ids.filter((_, n) => n % 3 !== 0));
    await until('all bad ones are dead letters', async () => (await client.deadLetters(topic, 'g').count()) === 30);
    const dead = (await lettersOf(client, topic)).map(({ id }) => id).sort();
    assert.deepEqual(dead, ids.filter((_, n) => n % 3 === 0).sort());
  });

  suite.case('dead letters outlive the client that made them', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    await world.consume(client, topic, quick('g'), () => {
      throw new DeadLetter('bad');
    });
    await publishOrders(client, topic, 3);
    await until('all are dead letters', async () => (await client.deadLetters(topic, 'g').count()) === 3);
    await client.close();
    const later = await world.client();
    assert.deepEqual((await lettersOf(later, topic)).map(({ id }) => id).sort(), ['m-0', 'm-1', 'm-2']);
    assert.deepEqual((await lettersOf(later, topic)).length, 3, 'listing takes nothing away');
  });

  suite.case(
    'letters are listed page by page by a cursor that another client goes on with: each that stays once, while others come and go',
    async (world) => {
      const topic = world.topic();
      const [client, other] = [await world.client(), await world.client()];
      await world.consume(client, topic, quick('g'), () => {
        throw new DeadLetter('bad');
      });
      const letters = client.deadLetters(topic, 'g');
      const isDead = (id: string): Promise<boolean> =>
        letters.count({ where: { ids: [id] } }).then((count) => count === 1);
      await publishOrders(client, topic, 11);
      await until('all are dead letters', async () => (await letters.count()) === 11);
      const seen: string[] = [];
      const gone: string[] = [];
      let cursor: string | undefined;
      for (let round = 0; ; round += 1) {
        const page: Letter[] = [];
        const reader = round % 2 === 0 ? client : other;
        const from = cursor === undefined ? {} : { after: cursor };
        for await (const letter of reader.deadLetters(topic, 'g').list({ limit: 3, ...from })) page.push(letter);
        if (page.length === 0) break;
        seen.push(...page.map(({ id }) => id));
        cursor = page.at(-1)!.cursor;
        // The one that the cursor names goes, and another one comes.
        assert.deepEqual(await letters.discard({ where: { ids: [page.at(-1)!.id] } }), { discarded: 1 });
        gone.push(page.at(-1)!.id);
        if (round >= 3) continue;
        await publishOrders(client, topic, 1, { prefix: 'late-', from: round });
        await until('the new one is dead', () => isDead(`late-${round}`));
      }
      const all = [...Array.from({ length: 11 }, (_, n) => `m-${n}`), 'late-0', 'late-1', 'late-2'];
      assert.deepEqual(seen.toSorted(), all.toSorted());
      const left = (await lettersOf(client, topic)).map(({ id }) => id).sort();
      assert.deepEqual(left, all.filter((id) => !gone.includes(id)).sort());
    },
  );

  suite.case('letters are counted by reason, and filtered by key and time', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    await world.consume(client, topic, quick('g'), ({ payload }) => {
      throw new DeadLetter(payload.n % 3 === 0 ? 'third' : 'other');
    });
    const before = new Date();
    await publishOrders(client, topic, 9);
    const letters = client.deadLetters(topic, 'g');
    await until('all are dead letters', async () => (await letters.count()) === 9);
    assert.deepEqual(await letters.countBy('reason'), { third: 3, other: 6 });
    assert.deepEqual(await letters.countBy('key', { where: { reason: 'third' } }), { 'no-0': 1, 'no-3': 1, 'no-6': 1 });
    assert.equal(await letters.count({ where: { key: 'no-4' } }), 1);
    assert.equal(await letters.count({ where: { since: before } }), 9);
    assert.equal(await letters.count({ where: { before } }), 0);
    assert.equal(await letters.count({ where: { minAttempts: 2 } }), 0);
  });

  suite.case('discard removes what its filter names, and nothing else', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    await world.consume(client, topic, quick('g'), ({ payload }) => {
      throw new DeadLetter(payload.n % 2 === 0 ? 'even' : 'odd');
    });
    await publishOrders(client, topic, 10);
    const letters = client.deadLetters(topic, 'g');
    await until('all are dead letters', async () => (await letters.count()) === 10);
    assert.equal(await letters.count({ where: { reason: 'odd' } }), 5);
    assert.deepEqual(await letters.discard({ where: { reason: 'even' } }), { discarded: 5 });
    assert.deepEqual(await letters.discard({ where: { ids: ['m-1', 'm-2', 'm-3'] } }), { discarded: 2 });
    const left = (await lettersOf(client, topic)).map(({ id }) => id).sort();
    assert.deepEqual(left, ['m-5', 'm-7', 'm-9']);
    assert.equal(await letters.count(), 3);
    await assert.rejects(letters.discard({}), TypeError);
  });
}
