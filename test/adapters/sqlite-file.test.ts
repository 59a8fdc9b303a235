import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlite } from '../../adapters/sqlite/index.ts';
import { planShards, type ShardRow } from '../../adapters/sqlite/shards.ts';
import { createWriter, isUncertain } from '../../adapters/sqlite/writer.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { consume, hooksOf, keyed, outgoing, publish, textOf, topologyOf, until } from './port-harness.ts';

let directory: string;
let path: string;
const clients: BrokerAdapter[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
  path = join(directory, 'broker.db');
});
afterEach(async () => {
  for (const adapter of clients.splice(0)) await adapter.close();
  rmSync(directory, { recursive: true });
});

async function client(at = path): Promise<BrokerAdapter> {
  const adapter = sqlite({ path: at, pollMs: 5 });
  clients.push(adapter);
  await adapter.connect(hooksOf());
  return adapter;
}

describe('sqlite, the file', () => {
  it('keeps messages, delays and dead letters over a restart', async () => {
    const first = await client();
    const topology = topologyOf();
    await first.declare(topology);
    await publish(first, [
      ...['a', 'b', 'c'].map((text) => outgoing(topology, text)),
      outgoing(topology, 'later', { delayMs: 600_000 }),
    ]);
    const inbox = await consume(first, topology, { prefetch: 1 });
    const [a] = await inbox.count(1);
    await inbox.dead(a!, { reason: 'x' });
    await first.close();

    const second = await client();
    expect(await second.backlog(topology, 'g')).toMatchObject({ ready: 2, inFlight: 0, delayed: 1, dead: 1 });
    const again = await consume(second, topology);
    await again.count(2);
    expect(again.texts()).toEqual(['b', 'c']);
  });

  it('says which directory is missing', async () => {
    const missing = join(directory, 'none', 'broker.db');
    await expect(client(missing)).rejects.toMatchObject({
      adapterCode: 'broker-unreachable',
      message: expect.stringContaining(join(directory, 'none')),
    });
  });

  it('says that a file is not a database, and leaves it alone', async () => {
    writeFileSync(path, 'no database, '.repeat(500));
    await expect(client()).rejects.toMatchObject({
      adapterCode: 'invalid-option',
      message: expect.stringContaining('not an SQLite database'),
    });
  });

  it('refuses a file of a newer version', async () => {
    await client();
    const db = new DatabaseSync(path);
    db.exec("UPDATE hf_meta SET value = 99 WHERE name = 'schema'");
    db.close();
    await expect(client()).rejects.toMatchObject({ adapterCode: 'unsupported' });
  });

  it('refuses a topic that has lost its lanes, and says what to do; it may gain them', async () => {
    const adapter = await client();
    const without = topologyOf();
    const lanes = { ...without, lanes: true };
    for (const topology of [without, without, lanes, lanes]) await adapter.declare(topology);
    const refused = { adapterCode: 'topology-conflict', message: expect.stringContaining('UPDATE hf_topics') };
    for (const declare of ['create', 'verify'] as const) {
      const other = sqlite({ path });
      clients.push(other);
      await other.connect(hooksOf([], { declare }));
      await expect(other.declare(without)).rejects.toMatchObject(refused);
      await other.declare(lanes);
    }
    const db = new DatabaseSync(path);
    db.exec(`UPDATE hf_topics SET lanes = 0 WHERE name = '${without.topic}'`);
    db.close();
    await adapter.declare(without);
  });

  it('refuses lanes that the topic has not, where it may only verify', async () => {
    const adapter = await client();
    const without = topologyOf();
    await adapter.declare(without);
    const verifier = sqlite({ path });
    clients.push(verifier);
    await verifier.connect(hooksOf([], { declare: 'verify' }));
    await verifier.declare(without);
    const missing = { adapterCode: 'topology-missing', message: expect.stringContaining('lanes') };
    await expect(verifier.declare({ ...without, lanes: true })).rejects.toMatchObject(missing);
  });

  it('takes a file of version 1 as it is, with its topics', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await adapter.close();
    const db = new DatabaseSync(path);
    db.exec("ALTER TABLE hf_topics DROP COLUMN lanes; UPDATE hf_meta SET value = 1 WHERE name = 'schema'");
    db.close();
    const [one, two] = await Promise.all([client(), client()]);
    await one.declare({ ...topology, lanes: true });
    await expect(two.declare(topology)).rejects.toMatchObject({ adapterCode: 'topology-conflict' });
    await (await consume(two, { ...topology, lanes: true })).count(1);
  });

  it('opens a private database in memory, and says what it is worth', async () => {
    const adapter = await client(':memory:');
    expect(adapter.capabilities).toMatchObject({ durability: 'memory', multiProcess: false });
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await inbox.count(1);
    const other = await client(':memory:');
    await expect(other.backlog(topology, 'g')).rejects.toMatchObject({ adapterCode: 'topology-missing' });
  });

  it('names an option that it does not know, or cannot use', () => {
    expect(() => sqlite({ path: 'x', poll: 5 } as never)).toThrow(/no option "poll".*"pollMs"/);
    expect(() => sqlite({} as never)).toThrow(/path.*undefined/);
    expect(() => sqlite({ path: 'x', pollMs: 0 })).toThrow(/1 to 10000 as "pollMs", received 0/);
    expect(() => sqlite({ path: 'x', busyTimeoutMs: Number.NaN })).toThrow(TypeError);
  });

  it('calls transient what may pass: a lock, a full disk, an I/O error', () => {
    const adapter = sqlite({ path });
    const error = (errcode: number): Error => Object.assign(new Error('x'), { code: 'ERR_SQLITE_ERROR', errcode });
    expect([5, 6, 13, 10, 10 | (3 << 8)].every((code) => adapter.isTransient(error(code)))).toBe(true);
    expect([1, 11, 14, 19, 26].some((code) => adapter.isTransient(error(code)))).toBe(false);
    expect(adapter.isTransient(undefined)).toBe(false);
  });
});

describe('sqlite, leases', () => {
  it('delivers to others, as suspect, what its consumer did not extend in time; a late settlement is stale', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    const one = await consume(adapter, topology, { leaseMs: 100 });
    const [late] = await one.count(1);
    one.source.pause();
    const two = await consume(await client(), topology);
    const [taken] = await two.count(1);
    expect(taken).toMatchObject({ redelivered: true, suspect: true });
    expect(await one.settle('done', late!)).toEqual(['stale']);
    expect(await two.settle('done', taken!)).toEqual(['settled']);
  });

  it('marks nothing of a shard that is somebody else’s by now, though nobody has claimed the message yet', async () => {
    const adapter = await client();
    const topology = topologyOf([{ name: 'g', ordered: true }]);
    await adapter.declare(topology);
    await publish(adapter, [keyed(topology, 'a', 'k', 0)]);
    const one = await consume(adapter, topology);
    const [a] = await one.count(1);
    const db = new DatabaseSync(path);
    db.exec('PRAGMA busy_timeout = 5000; UPDATE hf_shards SET owner = owner + 1, epoch = epoch + 1');
    db.close();
    expect(await one.source.mark!(a!, { attempts: '1' })).toBe('stale');
  });

  it('leaves a delivery to its consumer for as long as it extends it', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [outgoing(topology, 'a'), outgoing(topology, 'b')]);
    const one = await consume(adapter, topology, { leaseMs: 400, prefetch: 2 });
    const [a] = await one.count(2);
    one.source.pause();
    const timer = setInterval(() => void one.source.extend([a!]), 50);
    const two = await consume(await client(), topology);
    await two.count(1);
    clearInterval(timer);
    expect(two.texts()).toEqual(['b']);
    expect(await one.settle('done', a!)).toEqual(['settled']);
  });

  it('hands a busy shard back to its holder when it does not run empty, rather than stopping it', async () => {
    const adapter = await client();
    const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    await adapter.declare(topology);
    const one = await consume(adapter, topology, { prefetch: 10_000 });
    let rounds = 0;
    const round = async () => {
      await publish(adapter, [keyed(topology, `a${rounds}`, 'a', 0), keyed(topology, `b${rounds}`, 'b', 1)]);
      rounds += 1;
    };
    const of = (key: string): string[] => one.texts().filter((text) => text.startsWith(key));
    await round();
    await one.count(2);
    const two = await consume(await client(), topology);
    // So that it can change hands; but its messages are never settled.
    await until('one of the two shards gets nothing more', async () => {
      await round();
      return Math.abs(of('a').length - of('b').length) >= 5;
    });
    await one.count(2 * rounds);
    for (const key of ['a', 'b']) expect(of(key)).toEqual(Array.from({ length: rounds }, (_, n) => `${key}${n}`));
    expect(two.deliveries).toHaveLength(0);
    expect(one.revoked).toEqual([]);
  });
});

describe('sqlite, the writer', () => {
  it('fails a step alone, however many share its transaction', async () => {
    const db = new DatabaseSync(path);
    db.exec('CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT');
    let announced = 0;
    const writer = createWriter(db, path, 1_000, () => {
      announced += 1;
    });
    const insert = db.prepare('INSERT INTO t (n) VALUES (?)');
    const options = { durable: true, notify: true };
    const results = await Promise.allSettled(
      [1, 2, 2, 3].map((n) => writer.write(() => insert.run(n).changes, options)),
    );
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(
      db
        .prepare('SELECT n FROM t ORDER BY n')
        .all()
        .map((row) => row.n),
    ).toEqual([1, 2, 3]);
    expect(announced).toBeGreaterThan(0);
    expect(isUncertain((results[2] as PromiseRejectedResult).reason)).toBe(false);
    await writer.close();
    await expect(writer.write(() => 0, options)).rejects.toMatchObject({ adapterCode: 'broker-unreachable' });
    db.close();
  });

  it('does what is waiting, in order, as soon as the lock is free', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const db = new DatabaseSync(path);
    db.exec('BEGIN IMMEDIATE');
    let confirmed = 0;
    const publishing = ['a', 'b', 'c'].map(async (text) => {
      await publish(adapter, [outgoing(topology, text)]);
      confirmed += 1;
    });
    const inbox = await Promise.race([
      Promise.all(publishing).then(() => 'published'),
      new Promise((resolve) => setTimeout(resolve, 50, 'waiting')),
    ]);
    expect([inbox, confirmed]).toEqual(['waiting', 0]);
    db.exec('COMMIT');
    db.close();
    await Promise.all(publishing);
    const consumer = await consume(adapter, topology);
    expect((await consumer.count(3)).map(textOf)).toEqual(['a', 'b', 'c']);
  });
});

describe('sqlite, shares of shards', () => {
  // Every owner in turn plans and acts by itself, until nobody wants anything.
  function settleShares(owners: readonly number[], rows: ShardRow[], held: Map<number, Map<number, number>>): number {
    let epoch = 100;
    for (let round = 1; round <= 20; round += 1) {
      let acted = false;
      for (const me of owners) {
        const mine = held.get(me) ?? new Map<number, number>();
        held.set(me, mine);
        const none = new Set<number>();
        const plan = planShards({
          me,
          now: 0,
          live: owners,
          rows,
          held: mine,
          busy: none,
          draining: none,
          pinned: none,
        });
        acted ||= plan.take.length + plan.release.length > 0;
        for (const shard of plan.release) {
          mine.delete(shard);
          rows[shard] = { shard, owner: 0, epoch: rows[shard]!.epoch, until: 0 };
        }
        for (const shard of plan.take) {
          epoch += 1;
          mine.set(shard, epoch);
          rows[shard] = { shard, owner: me, epoch, until: 1_000 };
        }
      }
      if (!acted) return round;
    }
    throw new Error('they never agree');
  }

  it.each([
    [1, [5]],
    [8, [1, 2, 3]],
    [4, [1, 2, 3]],
    [64, [3, 9, 11, 40, 41, 77, 80]],
    [2, [1, 2, 3, 4]],
  ])('divides %i shards among owners %j, none without when there is one for it', (shards, owners) => {
    const rows = Array.from({ length: shards }, (_, shard): ShardRow => ({ shard, owner: 0, epoch: 0, until: 0 }));
    const held = new Map<number, Map<number, number>>();
    for (let joined = 1; joined <= owners.length; joined += 1) settleShares(owners.slice(0, joined), rows, held);
    const counts = owners.map((owner) => rows.filter((row) => row.owner === owner).length);
    expect(counts.reduce((sum, count) => sum + count)).toBe(shards);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  it('takes no shard of a live owner, drains what is busy, and lets go of what it does not know it holds', () => {
    const rows: ShardRow[] = [
      { shard: 0, owner: 1, epoch: 10, until: 1_000 },
      { shard: 1, owner: 1, epoch: 11, until: 1_000 },
      { shard: 2, owner: 1, epoch: 12, until: 1_000 },
      { shard: 3, owner: 9, epoch: 13, until: 5 },
    ];
    const situation = { me: 1, now: 100, rows, draining: new Set<number>(), pinned: new Set<number>() };
    const held = new Map([
      [0, 10],
      [1, 11],
      [2, 99],
    ]);
    expect(planShards({ ...situation, live: [1], held, busy: new Set() })).toEqual({
      take: [3],
      drain: [],
      release: [2],
    });
    expect(planShards({ ...situation, live: [1, 2, 3], held, busy: new Set([1]) })).toEqual({
      take: [],
      drain: [],
      release: [2],
    });
    expect(planShards({ ...situation, live: [0, 1, 2, 3], held, busy: new Set([0, 1]) })).toEqual({
      take: [],
      drain: [1],
      release: [2],
    });
    expect(
      planShards({ ...situation, live: [0, 1, 2, 3], held, busy: new Set([0, 1]), pinned: new Set([0, 1]) }),
    ).toEqual({ take: [], drain: [], release: [2] });
    expect(planShards({ ...situation, me: 2, live: [1, 2], held: new Map(), busy: new Set() }).take).toEqual([3]);
  });
});
