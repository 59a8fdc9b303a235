import assert from 'node:assert/strict';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import { assertNoPhantom, assertOnce, ledger } from './ledger.ts';
import type { Suite } from './options.ts';
import { calm } from './script.ts';
import { until } from './until.ts';
import { publishOrders } from './world.ts';

/** What publishing promises: one outcome each, and what was confirmed arrives as it was. */
export function publishCases(suite: Suite): void {
  const { capabilities } = suite;

  suite.case('G2: every confirmed message is handled, and nothing else is', async (world) => {
    const topic = world.topic();
    const client = await world.client();
    const { handled } = await world.consume(client, topic, calm('g'));
    const ids = await publishOrders(client, topic, 300);
    await handled.all(ids);
    assertNoPhantom(handled, ids);
    assertOnce(handled);
  });

  suite.case('a message arrives with all that was said of it', async (world) => {
    const client = await world.client({ source: 'shop' });
    const lanes = capabilities.priority !== 'none';
    const topic = defineTopic<{ total: number }>(world.name(), {
      groups: ['g'],
      ...(lanes && { priority: 'normal' as const }),
      key: () => 'of the topic',
    });
    const messages: Message<{ total: number }>[] = [];
    const seen = ledger();
    await client.consume(topic, calm('g'), (message) => {
      messages.push(message);
      seen.note({ id: message.id, n: 0, key: message.key, attempt: message.attempt, by: '', at: 0 });
    });
    const before = Date.now();
    const receipt = await client.publish(
      topic,
      { total: 10 },
      {
        id: 'a-1',
        key: 'k-1',
        dedupeKey: 'd-1',
        ...(lanes && { priority: 'high' as const }),
        headers: { trace: 't-1', empty: '' },
      },
    );
    assert.equal(receipt.id, 'a-1');
    assert.equal(receipt.outcome, 'confirmed');
    const { id: made } = await client.publish(topic, { total: 20 });
    const after = Date.now();
    await seen.all(['a-1', made]);

    const full = messages.find(({ id }) => id === 'a-1')!;
    assert.deepEqual(
      { ...full, headers: { ...full.headers }, publishedAt: undefined },
      {
        id: 'a-1',
        topic: topic.name,
        payload: { total: 10 },
        key: 'k-1',
        source: 'shop',
        dedupeKey: 'd-1',
        priority: lanes ? 'high' : 'normal',
        headers: { trace: 't-1', empty: '' },
        publishedAt: undefined,
        attempt: 1,
      },
    );
    // Some brokers keep times by the second.
    assert.ok(
      full.publishedAt.getTime() > before - 1_000 && full.publishedAt.getTime() <= after,
      `published at ${full.publishedAt.toISOString()}`,
    );
    const lean = messages.find(({ id }) => id === made)!;
    assert.equal(lean.key, 'of the topic');
    assert.equal(lean.dedupeKey, undefined);
    assert.equal(lean.priority, 'normal');
    assert.deepEqual({ ...lean.headers }, {});
  });

  suite.case('headers, keys and ids keep every character', async (world) => {
    const client = await world.client();
    const topic = world.topic();
    const headers = { name: 'Zoë – 東京 🚚', 'dotted.name': 'ß', quotes: `"'\\{}[];,=:`, spaces: '  two  ' };
    const cases = [
      { id: 'id/with:odd chars=?&#%é', key: 'käse 🧀' },
      { id: `${'x'.repeat(126)}ü!`, key: 'κ'.repeat(500) },
      { id: '00', key: '' },
    ];
    const messages: Message[] = [];
    const { handled } = await world.consume(client, topic, calm('g'), (message) => void messages.push(message));
    for (const options of cases) await client.publish(topic, { n: 0 }, { ...options, headers });
    await handled.all(cases.map(({ id }) => id));
    for (const { id, key } of cases) {
      const message = messages.find((each) => each.id === id)!;
      assert.equal(message.key, key);
      assert.deepEqual({ ...message.headers }, headers);
    }
  });

  suite.case('G1: bytes arrive as they were: none, all 256 values, and many', async (world) => {
    const client = await world.client();
    const topic = defineTopic<Uint8Array>(world.name(), { groups: ['g'] });
    const bodies = [
      new Uint8Array(),
      Uint8Array.from({ length: 256 }, (_, index) => index),
      Uint8Array.from({ length: 512 * 1024 }, (_, index) => (index * 7919) >> 3),
    ];
    const received = new Map<string, Uint8Array>();
    await client.consume(topic, calm('g'), ({ id, payload }) => void received.set(id, payload));
    await Promise.all(bodies.map((body, index) => client.publish(topic, body, { id: `b-${index}` })));
    await until('all bodies are there', () => received.size === bodies.length);
    bodies.forEach((body, index) => {
      assert.ok(Buffer.from(body).equals(received.get(`b-${index}`)!), `body ${index} of ${body.length} bytes`);
    });
  });

  suite.case('JSON arrives as it was: text of any script, numbers to their last digit, empty values', async (world) => {
    const client = await world.client();
    const topic = defineTopic<unknown>(world.name(), { groups: ['g'] });
    const payloads = [
      null,
      '',
      0,
      [],
      {},
      'x',
      { deep: { list: [1.1, -1e-7, Number.MAX_SAFE_INTEGER, '\u2028\u0000"\\', 'naïve 東京 🚚', false] } },
    ];
    const received = new Map<string, unknown>();
    await client.consume(topic, calm('g'), ({ id, payload }) => void received.set(id, payload));
    await client.publishAll(topic, payloads, (_, index) => ({ id: `p-${index}` }));
    await until('all payloads are there', () => received.size === payloads.length);
    payloads.forEach((payload, index) => {
      assert.deepEqual(received.get(`p-${index}`), payload);
    });
  });

  suite.case('publishAll answers for each message, in order, also where some are refused', async (world) => {
    const client = await world.client();
    const topic = world.topic();
    const results = await client.publishAll(topic, [{ n: 0 }, { n: Number.NaN }, { n: 2 }], ({ n }) => ({
      id: `r-${n}`,
    }));
    assert.deepEqual(
      results.map((result) => (result.ok ? result.receipt.id : result.error.code)),
      ['r-0', 'not-encodable', 'r-2'],
    );
  });

  suite.case('what is larger than the broker takes is refused before it is sent', async (world) => {
    const client = await world.client();
    const topic = defineTopic<Uint8Array>(world.name(), { groups: ['g'], maxBytes: 1_000 });
    await assert.rejects(client.publish(topic, new Uint8Array(1_001)), {
      code: 'message-too-large',
      outcome: 'not-sent',
    });
    await client.publish(topic, new Uint8Array(1_000));
  });

  if (capabilities.unroutable) {
    suite.case('S7: a message that no group would ever receive is refused as unroutable', async (world) => {
      const client = await world.client();
      const topic = world.topic({ groups: {} });
      await assert.rejects(client.publish(topic, { n: 0 }), { code: 'unroutable', outcome: 'not-sent' });
      const results = await client.publishAll(topic, [{ n: 1 }, { n: 2 }]);
      assert.deepEqual(
        results.map((result) => (result.ok ? 'ok' : result.error.code)),
        ['unroutable', 'unroutable'],
      );
    });
  } else {
    suite.case('S7: a message published before there is any group is kept for the first', async (world) => {
      const client = await world.client();
      const script = world.script({ groups: {} });
      const ids = await publishOrders(client, world.topic(script), 3);
      const later = world.topic({ ...script, groups: { g: 'none' } });
      const { handled } = await world.consume(await world.client(), later, calm('g'));
      await handled.all(ids);
    });
  }

  suite.case(
    'every publish has its outcome when the client is closed amid them, and what was confirmed is handled',
    async (world) => {
      const topic = world.topic();
      const closing = await world.client();
      const other = await world.client();
      const { handled } = await world.consume(other, topic, calm('g'));
      await publishOrders(closing, topic, 1, { prefix: 'first-' });
      const outcomes = new Map<string, 'confirmed' | 'not-sent' | 'unknown'>();
      const publishes = Array.from({ length: 3_000 }, async (_, n) => {
        const id = `m-${n}`;
        try {
          await closing.publish(topic, { n }, { id });
          outcomes.set(id, 'confirmed');
        } catch (error) {
          assert.ok(isHoldfastError(error), String(error));
          outcomes.set(id, error.outcome!);
        }
      });
      await until('some are confirmed', () => outcomes.size > 0);
      await closing.close({ drainMs: 0 });
      await Promise.all(publishes);
      assert.equal(outcomes.size, 3_000);
      const confirmed = [...outcomes].filter(([, outcome]) => outcome === 'confirmed').map(([id]) => id);
      await handled.all(confirmed);
      const notSent = [...outcomes].filter(([, outcome]) => outcome === 'not-sent').map(([id]) => id);
      const falseFailures = notSent.filter((id) => handled.ids().has(id));
      assert.deepEqual(falseFailures, [], 'said to be not sent, yet handled');
      await assert.rejects(closing.publish(topic, { n: 0 }), { code: 'client-closed', outcome: 'not-sent' });
    },
  );

  suite.case('an aborted publish rejects at once and says whether it may have been stored', async (world) => {
    const client = await world.client();
    const topic = world.topic();
    await publishOrders(client, topic, 1);
    await assert.rejects(client.publish(topic, { n: 1 }, { signal: AbortSignal.abort() }), {
      code: 'publish-aborted',
      outcome: 'not-sent',
    });
    const abort = new AbortController();
    const publishing = client.publish(topic, { n: 2 }, { signal: abort.signal });
    publishing.catch(() => undefined);
    await new Promise((resolve) => queueMicrotask(() => queueMicrotask(() => resolve(undefined))));
    abort.abort();
    const error: unknown = await publishing.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error === undefined || (isHoldfastError(error) && error.code === 'publish-aborted'), String(error));
  });
}
