import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BrokerAdapter, StoredLetter } from '../../src/port.ts';
import { consume, hooksOf, keyed, outgoing, publish, textOf, topologyOf, until } from './port-harness.ts';

/** A broker with clients, and its clock. */
export interface World {
  /** A connected client more. */
  client(): Promise<BrokerAdapter>;
  /** Epoch milliseconds on the broker's clock. */
  now(): number;
  /** Lets so much of the broker's time pass. */
  pass(ms: number): Promise<void>;
  end(): Promise<void>;
}

/** What the adapters that do everything natively promise through the port, whatever they are made of. */
export function portPromises(name: string, open: () => Promise<World>): void {
  describe(`${name} through the port`, () => {
    let world: World;
    let adapter: BrokerAdapter;

    beforeEach(async () => {
      world = await open();
      adapter = await world.client();
    });
    afterEach(() => world.end());

    it('carries every attribute of a message, and nothing that was not set', async () => {
      const topology = topologyOf([{ name: 'g', ordered: false }], { lanes: true });
      await adapter.declare(topology);
      const inbox = await consume(adapter, topology);
      const body = new Uint8Array([0, 255, 10, 13, 0, 128]);
      await publish(adapter, [
        outgoing(topology, 'full', {
          body,
          contentType: 'application/octet-stream',
          key: 'kéy',
          partition: 0,
          lane: 'high',
          dedupeKey: 'once',
          headers: { trace: 'ü-1', empty: '' },
          publishedAt: 1_700_000_000_123,
          expiresAt: 1_900_000_000_456,
        }),
      ]);
      const [full] = await inbox.count(1);
      expect(full).toMatchObject({ lane: 'high', shard: 0, redelivered: false, suspect: false });
      expect(full!.message).toEqual({
        id: 'id-full',
        source: 'test',
        body,
        contentType: 'application/octet-stream',
        key: 'kéy',
        dedupeKey: 'once',
        headers: { trace: 'ü-1', empty: '' },
        marks: {},
        publishedAt: 1_700_000_000_123,
        expiresAt: 1_900_000_000_456,
      });
      await publish(adapter, [outgoing(topology, '', { id: 'bare' })]);
      const [, bare] = await inbox.count(2);
      expect(bare!.message).toMatchObject({ id: 'bare', headers: {}, marks: {} });
      expect(bare!.message.body.byteLength).toBe(0);
      expect(bare!.message.key).toBeUndefined();
      expect(bare!.message.dedupeKey).toBeUndefined();
      expect(bare!.message.expiresAt).toBeUndefined();
    });

    it('delivers what was published, whatever happens to the message object later', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      const message = outgoing(topology, 'before');
      await publish(adapter, [message]);
      message.body.fill(0);
      const inbox = await consume(adapter, topology);
      const [first] = await inbox.count(1);
      expect(textOf(first!)).toBe('before');
      first!.message.body.fill(0);
      await inbox.settle('give-back', first!);
      const [, second] = await inbox.count(2);
      expect(textOf(second!)).toBe('before');
    });

    it('refuses as unroutable where no group exists', async () => {
      const topology = topologyOf([]);
      await adapter.declare(topology);
      expect(await publish(adapter, [outgoing(topology, 'a'), outgoing(topology, 'b')])).toEqual([
        { kind: 'unroutable' },
        { kind: 'unroutable' },
      ]);
    });

    it('delivers to each group, also to one that the publisher does not know', async () => {
      const known = topologyOf([{ name: 'one', ordered: false }]);
      await adapter.declare(known);
      const other = await world.client();
      await other.declare({ ...known, groups: [{ name: 'two', ordered: false }] });
      await publish(adapter, [outgoing(known, 'a')]);
      const one = await consume(adapter, known, { group: 'one' });
      const two = await consume(other, known, { group: 'two' });
      await one.count(1);
      await two.count(1);
      expect(await one.settle('done', one.deliveries[0]!)).toEqual(['settled']);
      expect(await adapter.backlog(known, 'one')).toMatchObject({ ready: 0, inFlight: 0 });
      expect(await adapter.backlog(known, 'two')).toMatchObject({ ready: 0, inFlight: 1 });
    });

    it('refuses another number of partitions, and a group that changes its order', async () => {
      const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 4 });
      await adapter.declare(topology);
      await adapter.declare(topology);
      await expect(adapter.declare({ ...topology, partitions: 5 })).rejects.toMatchObject({
        adapterCode: 'topology-conflict',
      });
      await expect(adapter.declare({ ...topology, groups: [{ name: 'g', ordered: false }] })).rejects.toMatchObject({
        adapterCode: 'topology-conflict',
      });
    });

    it('creates nothing where it may only verify', async () => {
      const topology = topologyOf();
      const verifier = await world.client();
      await verifier.close();
      await verifier.connect(hooksOf([], { declare: 'verify' }));
      await expect(verifier.declare(topology)).rejects.toMatchObject({ adapterCode: 'topology-missing' });
      await adapter.declare(topology);
      await verifier.declare(topology);
      await expect(verifier.declare({ ...topology, groups: [{ name: 'more', ordered: false }] })).rejects.toMatchObject(
        {
          adapterCode: 'topology-missing',
        },
      );
    });

    it('delivers each lane up to the prefetch, so that a full lane never blocks another', async () => {
      const topology = topologyOf([{ name: 'g', ordered: false }], { lanes: true });
      await adapter.declare(topology);
      for (const lane of ['low', 'normal', 'high'] as const) {
        await publish(
          adapter,
          Array.from({ length: 8 }, (_, n) => outgoing(topology, `${lane}-${n}`, { lane })),
        );
      }
      const inbox = await consume(adapter, topology, { prefetch: 3 });
      await inbox.count(9);
      expect(inbox.texts().sort()).toEqual(
        ['high-0', 'high-1', 'high-2', 'low-0', 'low-1', 'low-2', 'normal-0', 'normal-1', 'normal-2'].sort(),
      );
      await inbox.settle('done', inbox.deliveries.find((delivery) => textOf(delivery) === 'high-0')!);
      await inbox.count(10);
      expect(inbox.texts()[9]).toBe('high-3');
      expect(await adapter.backlog(topology, 'g')).toMatchObject({ inFlight: 9, ready: 14 });
    });

    it('never has more unsettled than the prefetch', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      await publish(
        adapter,
        Array.from({ length: 100 }, (_, n) => outgoing(topology, String(n))),
      );
      let unsettled = 0;
      let most = 0;
      const inbox = await consume(adapter, topology, {
        prefetch: 7,
        onBatch: (batch, source) => {
          unsettled += batch.length;
          most = Math.max(most, unsettled);
          setImmediate(() => {
            unsettled -= batch.length;
            void source().settle(batch.map((delivery) => ({ kind: 'done', delivery })));
          });
        },
      });
      await inbox.count(100);
      expect(most).toBeLessThanOrEqual(7);
      expect(inbox.texts()).toEqual(Array.from({ length: 100 }, (_, n) => String(n)));
    });

    it('shares an unordered group between consumers, each message to one', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      const one = await consume(adapter, topology, { prefetch: 5 });
      const two = await consume(await world.client(), topology, { prefetch: 5 });
      await publish(
        adapter,
        Array.from({ length: 10 }, (_, n) => outgoing(topology, String(n))),
      );
      await one.count(5);
      await two.count(5);
      expect(new Set([...one.texts(), ...two.texts()]).size).toBe(10);
    });

    it('stops delivering a paused lane, and all lanes, until resumed', async () => {
      const topology = topologyOf([{ name: 'g', ordered: false }], { lanes: true });
      await adapter.declare(topology);
      const inbox = await consume(adapter, topology);
      inbox.source.pause('high');
      await publish(adapter, [outgoing(topology, 'high', { lane: 'high' }), outgoing(topology, 'normal')]);
      await inbox.count(1);
      expect(inbox.texts()).toEqual(['normal']);
      inbox.source.pause();
      await publish(adapter, [outgoing(topology, 'later')]);
      inbox.source.resume('high');
      await inbox.count(2);
      expect(inbox.texts()).toEqual(['normal', 'high']);
      inbox.source.resume();
      await inbox.count(3);
    });

    it('gives back to the front, unspent, with marks and order unchanged', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      await publish(
        adapter,
        ['a', 'b', 'c', 'd'].map((text) => outgoing(topology, text)),
      );
      const inbox = await consume(adapter, topology, { prefetch: 2 });
      const [a, b] = await inbox.count(2);
      inbox.source.pause();
      expect(await inbox.settle('give-back', b!, a!)).toEqual(['settled', 'settled']);
      inbox.source.resume();
      await inbox.count(4);
      expect(inbox.texts()).toEqual(['a', 'b', 'a', 'b']);
      expect(inbox.deliveries[2]).toMatchObject({ redelivered: true, suspect: false });
      expect(inbox.deliveries[2]!.message.marks).toEqual({});
    });

    it('retries to its own group alone, not early, with the new marks in place of the old', async () => {
      const topology = topologyOf([
        { name: 'one', ordered: false },
        { name: 'two', ordered: false },
      ]);
      await adapter.declare(topology);
      const one = await consume(adapter, topology, { group: 'one' });
      const two = await consume(adapter, topology, { group: 'two' });
      await publish(adapter, [outgoing(topology, 'a', { headers: { kept: 'yes' } })]);
      const [first] = await one.count(1);
      await two.count(1);
      const earliest = world.now() + 80;
      expect(await one.retry(first!, 80, { attempts: '1' })).toBe('settled');
      await world.pass(80);
      const [, second] = await one.count(2);
      expect(world.now()).toBeGreaterThanOrEqual(earliest);
      expect(second).toMatchObject({ redelivered: false, suspect: false });
      expect(second!.message).toMatchObject({ id: 'id-a', headers: { kept: 'yes' }, marks: { attempts: '1' } });
      expect(await one.retry(second!, 0, { failure: 'x' })).toBe('settled');
      const [, , third] = await one.count(3);
      expect(third!.message.marks).toEqual({ failure: 'x' });
      await one.retry(third!, 600_000);
      expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, inFlight: 0, delayed: 1 });
      expect(two.deliveries).toHaveLength(1);
    });

    it('delivers a delayed message not early, and what was due first first', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      const inbox = await consume(adapter, topology);
      const earliest = world.now() + 60;
      await publish(adapter, [
        outgoing(topology, 'late', { delayMs: 120 }),
        outgoing(topology, 'soon', { delayMs: 60 }),
        outgoing(topology, 'now'),
      ]);
      await inbox.count(1);
      await world.pass(60);
      await inbox.count(2);
      expect(world.now()).toBeGreaterThanOrEqual(earliest);
      await world.pass(60);
      await inbox.count(3);
      expect(inbox.texts()).toEqual(['now', 'soon', 'late']);
    });

    it('settles a delivery once: whatever comes after is stale', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      await publish(adapter, [outgoing(topology, 'a')]);
      const inbox = await consume(adapter, topology);
      const [a] = await inbox.count(1);
      expect(await inbox.settle('done', a!)).toEqual(['settled']);
      expect(await inbox.settle('done', a!)).toEqual(['stale']);
      expect(await inbox.settle('give-back', a!)).toEqual(['stale']);
      expect(await inbox.retry(a!, 0)).toBe('stale');
      expect(await inbox.dead(a!)).toBe('stale');
      expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
    });

    it('gives back in order, unspent, what is unsettled when it stops', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      await publish(
        adapter,
        ['a', 'b', 'c'].map((text) => outgoing(topology, text)),
      );
      const one = await consume(adapter, topology, { prefetch: 2 });
      const [a] = await one.count(2);
      await one.source.stop();
      await one.source.stop();
      expect(await one.settle('done', a!)).toEqual(['stale']);
      const two = await consume(await world.client(), topology);
      await two.count(3);
      expect(two.texts()).toEqual(['a', 'b', 'c']);
      expect(two.deliveries.map((delivery) => [delivery.redelivered, delivery.suspect])).toEqual([
        [true, false],
        [true, false],
        [false, false],
      ]);
    });

    it('keeps the order of a key over two consumers of which one joins, and leaves, midway', async () => {
      const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 4 });
      await adapter.declare(topology);
      const seen: string[] = [];
      const shards = new Map<string, Set<number>>();
      const open = async (who: string) =>
        consume(await world.client(), topology, {
          prefetch: 4,
          onBatch: (batch, source) => {
            setImmediate(() => {
              for (const delivery of batch) {
                seen.push(textOf(delivery));
                shards.set(who, (shards.get(who) ?? new Set()).add(delivery.shard));
              }
              void source().settle(batch.map((delivery) => ({ kind: 'done', delivery })));
            });
          },
        });
      let sent = 0;
      const send = async (rounds: number) => {
        for (let round = 0; round < rounds; round += 1, sent += 1) {
          await publish(
            adapter,
            [0, 1, 2, 3].map((key) => keyed(topology, `${key}:${sent}`, `key-${key}`, key)),
          );
        }
      };
      await send(10);
      await open('first');
      await send(10);
      const second = await open('second');
      await until('the second has shards', async () => {
        await send(1);
        return (shards.get('second')?.size ?? 0) > 0;
      });
      await send(10);
      await second.source.stop();
      await send(10);
      await until('all are seen', () => new Set(seen).size === sent * 4);
      for (const key of [0, 1, 2, 3]) {
        const first = [...new Set(seen.filter((text) => text.startsWith(`${key}:`)))];
        expect(first).toEqual(Array.from({ length: sent }, (_, n) => `${key}:${n}`));
      }
    });

    it('gives a shard to another consumer only when all that was delivered of it is settled', async () => {
      const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 8 });
      await adapter.declare(topology);
      const batch = (round: number) =>
        Array.from({ length: 8 }, (_, key) => keyed(topology, `${key}:${round}`, `key-${key}`, key));
      const one = await consume(adapter, topology, { prefetch: 1 });
      await publish(adapter, [...batch(0), ...batch(1)]);
      await one.count(8);
      const two = await consume(await world.client(), topology, { prefetch: 1 });
      await world.pass(300);
      expect(two.deliveries).toHaveLength(0);
      await one.settle('done', ...one.deliveries);
      await until('both have theirs', () => one.deliveries.length + two.deliveries.length === 16);
      expect(two.deliveries.length).toBeGreaterThan(0);
      expect(two.deliveries.every((delivery) => textOf(delivery).endsWith(':1') && !delivery.redelivered)).toBe(true);
    });

    it('keeps a dead letter as it was, with its marks, until it is replayed to its own group or discarded', async () => {
      const topology = topologyOf([
        { name: 'one', ordered: false },
        { name: 'two', ordered: false },
      ]);
      await adapter.declare(topology);
      const inbox = await consume(adapter, topology, { group: 'one' });
      const other = await consume(adapter, topology, { group: 'two' });
      await publish(
        adapter,
        ['a', 'b', 'c'].map((text) => outgoing(topology, text, { key: `k-${text}`, headers: { h: text } })),
      );
      await inbox.count(3);
      await other.count(3);
      const letters = adapter.deadLetters(topology, 'one');
      expect(await letters.count()).toBe(0);
      const before = world.now();
      for (const delivery of inbox.deliveries.slice(0, 3)) await inbox.dead(delivery, { reason: 'broken' });
      expect(await letters.count()).toBe(3);
      expect(await adapter.backlog(topology, 'one')).toMatchObject({ ready: 0, inFlight: 0, dead: 3 });

      const found: StoredLetter[] = [];
      for await (const page of letters.scan({ pageSize: 2, signal: undefined })) {
        expect(page.length).toBeLessThanOrEqual(2);
        found.push(...page);
      }
      expect(found.map((letter) => letter.message.id)).toEqual(['id-a', 'id-b', 'id-c']);
      expect(found[0]!.message).toMatchObject({ key: 'k-a', headers: { h: 'a' }, marks: { reason: 'broken' } });
      expect(found[0]!.deadAt).toBeGreaterThanOrEqual(before);

      expect(await letters.replay([found[0]!], { replays: '1' })).toEqual(['settled']);
      expect(await letters.replay([found[0]!], {})).toEqual(['stale']);
      expect(await letters.discard([found[1]!, found[0]!])).toEqual(['settled', 'stale']);
      await inbox.count(4);
      expect(inbox.deliveries[3]!.message).toMatchObject({
        id: 'id-a',
        key: 'k-a',
        headers: { h: 'a' },
        marks: { replays: '1' },
      });
      expect(inbox.deliveries[3]).toMatchObject({ redelivered: false, suspect: false });
      expect(await letters.count()).toBe(1);
      expect(other.deliveries).toHaveLength(3);
    });

    it('leaves a scan early without losing a letter, and ends it when its signal aborts', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      const inbox = await consume(adapter, topology);
      await publish(
        adapter,
        ['a', 'b', 'c'].map((text) => outgoing(topology, text)),
      );
      await inbox.count(3);
      for (const delivery of inbox.deliveries.slice(0, 3)) await inbox.dead(delivery);
      const letters = adapter.deadLetters(topology, 'g');
      for await (const page of letters.scan({ pageSize: 1, signal: undefined })) {
        expect(page).toHaveLength(1);
        break;
      }
      expect(await letters.count()).toBe(3);
      const abort = new AbortController();
      await expect(async () => {
        for await (const _page of letters.scan({ pageSize: 1, signal: abort.signal })) abort.abort(new Error('enough'));
      }).rejects.toThrow('enough');
      expect(await letters.count()).toBe(3);
    });

    it('counts its backlog exactly', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      expect(await adapter.backlog(topology, 'g')).toEqual({
        ready: 0,
        inFlight: 0,
        delayed: 0,
        dead: 0,
        oldestAgeMs: 0,
        exact: true,
      });
      await publish(adapter, [
        ...Array.from({ length: 5 }, (_, n) => outgoing(topology, String(n))),
        outgoing(topology, 'later', { delayMs: 600_000 }),
      ]);
      await world.pass(20);
      const backlog = await adapter.backlog(topology, 'g');
      expect(backlog).toMatchObject({ ready: 5, inFlight: 0, delayed: 1, dead: 0, exact: true });
      expect(backlog.oldestAgeMs).toBeGreaterThanOrEqual(19);
    });

    for (const ordered of [false, true])
      it(`S18: marks stay with an unsettled message, whoever gets it next, and end with it (ordered: ${ordered})`, async () => {
        const topology = topologyOf([{ name: 'g', ordered }]);
        await adapter.declare(topology);
        await publish(adapter, [keyed(topology, 'a', 'k', 0)]);
        const one = await consume(adapter, topology);
        const [first] = await one.count(1);
        expect(await one.source.mark!(first!, { attempts: '2', run: 'r' })).toBe('settled');
        await one.source.stop();
        expect(await one.source.mark!(first!, { attempts: '3' })).toBe('stale');
        const two = await consume(await world.client(), topology);
        const [second] = await two.count(1);
        expect(second!.message).toEqual({ ...first!.message, marks: { attempts: '2', run: 'r' } });
        expect(await two.retry(second!, 0, { attempts: '3' })).toBe('settled');
        await two.count(2);
        expect(two.deliveries[1]!.message).toEqual({ ...first!.message, marks: { attempts: '3' } });
      });

    it('ends a subscription that was under way when it was closed, and nothing of the group stays with it', async () => {
      const topology = topologyOf();
      const other = await world.client();
      await other.declare(topology);
      const texts = Array.from({ length: 30 }, (_, n) => String(n));
      await publish(
        other,
        texts.map((text) => outgoing(topology, text)),
      );
      const subscribing = consume(adapter, topology).catch(() => undefined);
      await adapter.close();
      await subscribing;
      const inbox = await consume(other, topology, { prefetch: 100 });
      await inbox.count(texts.length);
      expect(inbox.texts().toSorted()).toEqual(texts.toSorted());
    });

    it('refuses to publish, without a throw, when the caller has given up or the adapter is closed', async () => {
      const topology = topologyOf();
      await adapter.declare(topology);
      const outcomes = await adapter.publish([outgoing(topology, 'a')], {
        deadline: Date.now() + 1000,
        signal: AbortSignal.abort(new Error('given up')),
      });
      expect(outcomes).toMatchObject([{ kind: 'rejected', error: { message: 'given up' } }]);
      await adapter.close();
      await adapter.close();
      expect(await publish(adapter, [outgoing(topology, 'b')])).toMatchObject([{ kind: 'rejected' }]);
      expect(await adapter.health()).toMatchObject({ connected: false });
    });
  });
}
