import assert from 'node:assert/strict';
import type {
  OutboxEntry,
  OutboxRow,
  ParkedFilter,
  ParkedListOptions,
  ParkedMessage,
  ParkedMessages,
  Store,
} from '../../src/port.ts';
import { added, readAll, type StoreSuiteOptions, storeCases, topicOf, until } from './store-fixtures.ts';

/** What could not be sent: looked at, released, discarded. */
export function parkedCases<Tx>(options: StoreSuiteOptions<Tx>): void {
  const promises = storeCases(options);

  promises('a parked message is listed whole, with its reason and times', async ({ store, other }) => {
    const topic = topicOf();
    const whole = {
      id: 'm',
      key: 'é"k',
      lane: 'high',
      headers: { a: '1', ü: '🚂' },
      contentType: 'text/plain',
      body: new Uint8Array([0, 255, 10]),
      expiresInMs: 60_000,
    } as const;
    await added(store, topic, whole);
    await park(store, { m: 'unroutable: no queue: none' });
    const [message, ...more] = await all(other.outbox.parked);
    assert.deepEqual(more, []);
    const { addedAt, expiresAt, parkedAt, cursor, body, headers, ...rest } = message!;
    assert.deepEqual(rest, {
      id: 'm',
      topic: topic.topic,
      source: 'default',
      key: 'é"k',
      priority: 'high',
      contentType: 'text/plain',
      reason: 'unroutable',
      error: 'no queue: none',
      attempts: 0,
    });
    assert.deepEqual([new Uint8Array(body), { ...headers }], [whole.body, whole.headers]);
    assert.ok(Math.abs(addedAt.getTime() - Date.now()) < 60_000);
    assert.equal(expiresAt!.getTime() - addedAt.getTime(), 60_000);
    assert.ok(parkedAt >= addedAt);
    assert.match(cursor, /^\d+$/);
  });

  promises('parked messages are listed as they were added, by pages and from a cursor', async ({ store }) => {
    const ids = Array.from({ length: 250 }, (_, index) => `m-${index}`);
    await parked(store, topicOf(), ...ids.map((id) => ({ id })));
    const listed = await all(store.outbox.parked);
    assert.deepEqual(idsOf(listed), ids);
    assert.deepEqual(idsOf(await all(store.outbox.parked, { limit: 120 })), ids.slice(0, 120));
    const after = listed[119]!.cursor;
    assert.deepEqual(await store.outbox.parked.discard({ where: { ids: ['m-119'] } }), { discarded: 1 });
    assert.deepEqual(idsOf(await all(store.outbox.parked, { after, limit: 7 })), ids.slice(120, 127));
    assert.deepEqual(await all(store.outbox.parked, { after: listed.at(-1)!.cursor }), []);
  });

  promises('parked messages whose bodies fill pages are all listed and released', async ({ store }) => {
    const body = new Uint8Array(3 * 1024 * 1024).fill(7);
    const ids = ['a', 'b', 'c', 'd'];
    await parked(store, topicOf(), ...ids.map((id) => ({ id, body })));
    assert.deepEqual(idsOf(await all(store.outbox.parked)), ids);
    assert.deepEqual(await store.outbox.parked.release(), { released: 4 });
    const { rows } = await readAll(store);
    assert.deepEqual(idsOf(rows), ids);
    assert.ok(rows.every((row) => Buffer.compare(row.body, body) === 0));
  });

  promises('parked messages are picked by all that a filter names', async ({ store }) => {
    const [one, two] = [topicOf(), topicOf()];
    await added(store, one, { id: 'a', key: 'k' }, { id: 'b', key: '' }, { id: 'c' });
    await added(store, two, { id: 'd', key: 'k' });
    await park(store, { a: 'expired', b: 'unroutable: x', c: 'unroutable: y', d: 'unroutable' });
    const picked = async (where: NonNullable<ParkedFilter['where']>): Promise<readonly string[]> =>
      idsOf(await all(store.outbox.parked, { where }));
    assert.deepEqual(await picked({ reason: 'unroutable' }), ['b', 'c', 'd']);
    assert.deepEqual(await picked({ reason: 'unrout' }), []);
    assert.deepEqual(await picked({ ids: ['d', 'a', 'none'] }), ['a', 'd']);
    assert.deepEqual(await picked({ ids: [] }), []);
    assert.deepEqual(await picked({ topic: two.topic }), ['d']);
    assert.deepEqual(await picked({ key: 'k' }), ['a', 'd']);
    assert.deepEqual(await picked({ key: '' }), ['b']);
    assert.deepEqual(await picked({ key: 'k', topic: one.topic, reason: 'expired' }), ['a']);
    const since = (await all(store.outbox.parked))[0]!.parkedAt;
    assert.deepEqual(await picked({ since }), ['a', 'b', 'c', 'd']);
    assert.deepEqual(await picked({ before: since }), []);
    assert.deepEqual(await picked({ since: new Date(8.64e15) }), []);
    assert.deepEqual(await picked({ since: new Date(-8.64e15), before: new Date(8.64e15) }), ['a', 'b', 'c', 'd']);
    assert.deepEqual(await store.outbox.parked.release({ where: { topic: one.topic, key: 'k' } }), { released: 1 });
    assert.deepEqual((await readAll(store)).ids, ['a']);
    assert.deepEqual(await picked({}), ['b', 'c', 'd']);
  });

  promises('a released message is read again as it was, its attempts from 0', async ({ store, other }) => {
    const entry = { id: 'm', key: 'k', dedupeKey: 'd', lane: 'low', headers: { a: 'b' }, delayMs: 60_000 } as const;
    await added(store, topicOf(), { ...entry, expiresInMs: 90_000 });
    const first = await readAll(store);
    await store.outbox.relay.settle(first.leases, [{ ...place(first.rows[0]!), kind: 'later', delayMs: 1 }]);
    await until('it is due', async () => (await readAll(store)).rows.length === 1);
    await park(store, { m: 'unroutable' });
    assert.equal((await all(store.outbox.parked))[0]!.attempts, 1);
    assert.deepEqual(await other.outbox.parked.release(), { released: 1 });
    const { rows } = await readAll(store);
    const { readAt: _, delayMs, ...row } = rows[0]!;
    const { readAt: __, delayMs: before, ...expected } = first.rows[0]!;
    assert.deepEqual(plain(row), plain(expected));
    assert.ok(delayMs > 0 && delayMs <= before, 'its delay goes on');
    assert.deepEqual(await all(store.outbox.parked), []);
    assert.deepEqual(await store.outbox.parked.release(), { released: 0 });
  });

  promises(
    'G5: released messages come by their inserts, before the later ones of their key that wait',
    async ({ store }) => {
      const key = 'k';
      const topic = topicOf();
      await added(store, topic, ...['k1', 'k2', 'k3', 'k4'].map((id) => ({ id, key })));
      await park(store, { k1: 'unroutable', k3: 'unroutable' });
      await added(store, topic, { id: 'k5', key });
      assert.deepEqual((await readAll(store)).ids, ['k2', 'k4', 'k5']);
      await store.outbox.parked.release({ where: { ids: ['k3'] } });
      await store.outbox.parked.release();
      assert.deepEqual((await readAll(store)).ids, ['k1', 'k2', 'k3', 'k4', 'k5']);
    },
  );

  promises('G5: a later message of the key that failed does not hold back a released one', async ({ store }) => {
    const key = 'k';
    await added(store, topicOf(), { id: 'k1', key }, { id: 'k2', key }, { id: 'k3', key });
    await park(store, { k1: 'unroutable' });
    const { leases, rows } = await readAll(store);
    await store.outbox.relay.settle(leases, [{ ...place(rows[0]!), kind: 'later', delayMs: 60_000 }]);
    await store.outbox.parked.release();
    assert.deepEqual((await readAll(store)).ids, ['k1']);
  });

  promises('a released message can be parked and released again', async ({ store }) => {
    await parked(store, topicOf(), { id: 'm' });
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual(await store.outbox.parked.release(), { released: 1 });
      await park(store, { m: `unroutable: ${round}` });
      assert.deepEqual(
        (await all(store.outbox.parked)).map(({ error }) => error),
        [String(round)],
      );
    }
  });

  promises('a relay that has lost its lease settles nothing of a released message', async ({ store, other }) => {
    await added(store, topicOf(), { id: 'm' });
    const late = await store.outbox.relay.lease('late', 1);
    const rows = await store.outbox.relay.read(late, 10);
    let leases = await other.outbox.relay.lease('next', 60_000);
    await until('it has taken over', async () => {
      leases = await other.outbox.relay.lease('next', 60_000);
      return leases.length === 64;
    });
    await other.outbox.relay.settle(leases, [{ ...place(rows[0]!), kind: 'park', reason: 'unroutable' }]);
    assert.deepEqual(await other.outbox.parked.release(), { released: 1 });
    for (const kind of ['sent', 'park', 'later'] as const)
      assert.deepEqual(await store.outbox.relay.settle(late, [{ ...place(rows[0]!), kind }]), []);
    assert.deepEqual(idsOf(await other.outbox.relay.read(leases, 10)), ['m']);
    assert.deepEqual(await all(other.outbox.parked), []);
  });

  promises('of many who release and discard at once, each message goes to one', async ({ store, other }) => {
    const ids = Array.from({ length: 230 }, (_, index) => `m-${index}`);
    await parked(store, topicOf(), ...ids.map((id) => ({ id })));
    const counts = await Promise.all([
      store.outbox.parked.release(),
      other.outbox.parked.release(),
      store.outbox.parked.discard({ where: { reason: 'unroutable' } }),
      other.outbox.parked.release(),
    ]);
    const [a, b, c, d] = counts.map((each) => ('released' in each ? each.released : each.discarded));
    assert.equal(a! + b! + c! + d!, 230);
    const back = (await readAll(store)).ids;
    assert.equal(back.length, a! + b! + d!);
    assert.equal(new Set(back).size, back.length);
    assert.deepEqual(await all(store.outbox.parked), []);
  });

  promises('releasing wakes the relays, discarding does not', async ({ store }) => {
    await parked(store, topicOf(), { id: 'a' }, { id: 'b' });
    let calls = 0;
    const unsubscribe = store.outbox.relay.onWake(() => {
      calls += 1;
    });
    const { rows } = await readAll(store);
    assert.deepEqual(rows, []);
    assert.deepEqual(await store.outbox.parked.discard({ where: { ids: ['a'] } }), { discarded: 1 });
    assert.deepEqual(await store.outbox.parked.release({ where: { ids: ['none'] } }), { released: 0 });
    assert.equal(calls, 0);
    await store.outbox.parked.release();
    await until('it was woken', () => calls > 0);
    unsubscribe();
  });

  promises('discarding removes what the filter names, for good', async ({ store }) => {
    await added(store, topicOf(), { id: 'a' }, { id: 'b' }, { id: 'c' });
    await park(store, { a: 'expired', b: 'unroutable: x' });
    assert.deepEqual(await store.outbox.parked.discard({ where: { reason: 'expired' } }), { discarded: 1 });
    assert.deepEqual(await store.outbox.parked.discard({ where: { reason: 'expired' } }), { discarded: 0 });
    assert.deepEqual(idsOf(await all(store.outbox.parked)), ['b']);
    assert.deepEqual((await readAll(store)).ids, ['c']);
  });

  promises('an aborted call moves nothing more and rejects with the reason', async ({ store }) => {
    await parked(store, topicOf(), { id: 'a' });
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    const same = (error: unknown): boolean => error === reason;
    await assert.rejects(all(store.outbox.parked, { signal }), same);
    await assert.rejects(store.outbox.parked.release({ signal }), same);
    await assert.rejects(store.outbox.parked.discard({ where: { ids: ['a'] }, signal }), same);
    assert.deepEqual(idsOf(await all(store.outbox.parked)), ['a']);
  });

  promises('S16: a released message that was spilled counts for its spill again', async ({ store }) => {
    if (store.spill === undefined) return;
    const entry = await topicOf().toEntry({ id: 's', expiresInMs: 60_000 }, undefined);
    const publishedAt = Date.now() - 1_000;
    await store.spill.add([{ ...entry, source: 'another shop', publishedAt, bytes: 300 }]);
    await park(store, { s: 'unroutable' });
    const [message] = await all(store.outbox.parked);
    assert.deepEqual([message!.source, message!.addedAt.getTime()], ['another shop', publishedAt]);
    assert.equal((await store.spill.state()).rows, 0);
    await store.outbox.parked.release();
    const state = await store.spill.state();
    assert.equal(state.rows, 1);
    assert.ok(state.bytes > 0);
    const [row] = (await readAll(store)).rows;
    assert.deepEqual([row!.source, row!.publishedAt], ['another shop', publishedAt]);
  });

  promises('wrong options are refused by name, and nothing is moved', async ({ store }) => {
    await parked(store, topicOf(), { id: 'a' });
    const { parked: messages } = store.outbox;
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      ['all', /options|takes/],
      [{ wher: {} }, /"wher".*"where"/],
      [{ where: [] }, /"where"/],
      [{ where: { reson: 'x' } }, /"reson".*"reason"/],
      [{ where: { reason: '' } }, /"reason"/],
      [{ where: { ids: 'a' } }, /"ids"/],
      [{ where: { ids: [1] } }, /"ids"/],
      [{ where: { topic: 1, key: 2 } }, /"topic".*"key"/],
      [{ where: { key: 'a\0b' } }, /"key"/],
      [{ where: { since: new Date(Number.NaN), before: 5 } }, /"since".*"before"/],
      [{ signal: {} }, /"signal"/],
    ];
    const refused = (pattern: RegExp) => (error: unknown) => error instanceof TypeError && pattern.test(error.message);
    for (const [options, pattern] of wrong) {
      await assert.rejects(all(messages, options as ParkedListOptions), refused(pattern));
      await assert.rejects(messages.release(options as ParkedFilter), refused(pattern));
      await assert.rejects(messages.discard(options as ParkedFilter), refused(pattern));
    }
    await assert.rejects(all(messages, { after: 'x' }), refused(/"after"/));
    await assert.rejects(all(messages, { limit: 0 }), refused(/"limit"/));
    await assert.rejects(messages.release({ limit: 1 } as ParkedFilter), refused(/"limit"/));
    for (const empty of [{}, { where: {} }, { where: { reason: undefined } }, undefined])
      await assert.rejects(messages.discard(empty as ParkedFilter), TypeError);
    assert.deepEqual(idsOf(await all(messages)), ['a']);
  });
}

const place = ({ rowId, shard }: OutboxRow): { rowId: string; shard: number } => ({ rowId, shard });
const idsOf = (messages: readonly { readonly id: string }[]): readonly string[] => messages.map(({ id }) => id);
const plain = ({ body, headers, ...row }: Omit<OutboxRow, 'readAt' | 'delayMs'>): unknown => ({
  ...row,
  body: new Uint8Array(body),
  headers: { ...headers },
});

async function all(messages: ParkedMessages, options?: ParkedListOptions): Promise<readonly ParkedMessage[]> {
  const found: ParkedMessage[] = [];
  for await (const message of messages.list(options)) found.push(message);
  return found;
}

/** Parks what has these ids, each for its reason. */
async function park<Tx>(store: Store<Tx>, reasons: Readonly<Record<string, string>>): Promise<void> {
  const { leases, rows } = await readAll(store);
  const found = rows.filter(({ id }) => Object.hasOwn(reasons, id));
  const verdicts = found.map((row) => ({ ...place(row), kind: 'park', reason: reasons[row.id]! }) as const);
  const settled = await store.outbox.relay.settle(leases, verdicts);
  assert.equal(settled.length, Object.keys(reasons).length);
}

async function parked<Tx>(
  store: Store<Tx>,
  topic: ReturnType<typeof topicOf>,
  ...entries: readonly (Partial<OutboxEntry> & { readonly id: string })[]
): Promise<void> {
  await added(store, topic, ...entries);
  await park(store, Object.fromEntries(entries.map(({ id }) => [id, 'unroutable: nobody listens'])));
}
