import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { sqliteStore } from '../../adapters/sqlite/store.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { BrokerAdapter, Store } from '../../src/port.ts';
import { until } from '../conformance/until.ts';
import type { Kind } from '../fleet/index.ts';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import { connect } from './traps-connect.ts';

export interface SpillOutages {
  readonly kind: Kind;
  readonly adapter: (url: string) => BrokerAdapter;
  /** A migrated store for a test. @default SQLite in a file */
  readonly store?: () => Promise<{ readonly store: Store<never>; close(): Promise<void> }>;
}

interface Step {
  readonly key: string;
  readonly n: number;
}

const MESSAGES = 1_000;
const KEYS = 20;

/** A real broker goes away and comes back while 1,000 messages are published (S16). */
export function spillOutages({ kind, adapter, store: openStore = sqliteFile }: SpillOutages): void {
  let fleet: Proxied;
  beforeAll(async () => {
    fleet = await startProxied(kind, 1);
  }, 180_000);
  afterAll(() => fleet.stop());

  const outages: Readonly<Record<string, readonly [begin: () => Promise<void>, end: () => Promise<void>]>> = {
    'a network that swallows everything': [
      async () => fleet.proxies[0]!.blackHole(),
      async () => fleet.proxies[0]!.heal(),
    ],
    'a kill -9 and a restart': [() => fleet.server.kill(), () => fleet.server.restart()],
  };

  describe(`${kind}: spill`, () => {
    for (const [name, [begin, end]] of Object.entries(outages)) {
      it(`S16: 1,000 publishes across ${name}: each confirmed or spilled, then handled once, in order per key`, async ({
        expect,
      }) => {
        const topic = defineTopic<Step>(`spill-${randomUUID()}`, {
          groups: { g: { order: 'key' } },
          key: ({ key }) => key,
          partitions: 4,
        });
        const kept = await openStore();
        const ledger = await sqliteFile();
        const publisher = await connect({
          adapter: adapter(fleet.proxies[0]!.url),
          spill: { store: kept.store, spillAfterMs: 300 },
        });
        const noticed = Promise.withResolvers<void>();
        publisher.on('spilled', () => noticed.resolve());
        await publisher.publish(topic, { key: 'first', n: -1 });
        const consumer = await connect({ adapter: adapter(fleet.server.url) });
        const { inbox } = ledger.store as unknown as Store<DatabaseSync>;
        await ledger.table();
        await subscribed(() =>
          consumer.consume(topic, { group: 'g', inbox, concurrency: KEYS }, ({ payload }, { tx }) => {
            tx.prepare('INSERT INTO effects (key, n) VALUES (?, ?)').run(payload.key, payload.n);
          }),
        );
        const outcomes: string[] = [];
        const publishing: Promise<void>[] = [];
        let ending: Promise<void> | undefined;
        for (let n = 0; n < MESSAGES; n += 1) {
          if (n === MESSAGES * 0.3) await begin();
          if (n === MESSAGES * 0.7) ending = noticed.promise.then(end);
          const step = { key: `k${n % KEYS}`, n };
          publishing.push(
            publisher.publish(topic, step, { id: `m-${n}`, timeoutMs: 5_000 }).then(
              ({ outcome }) => void outcomes.push(outcome),
              (error: unknown) => void outcomes.push(String(error)),
            ),
          );
          if (n % 4 === 0) await sleep(12);
        }
        await Promise.all(publishing);
        await ending;
        expect([...new Set(outcomes)].sort()).toEqual(['confirmed', 'spilled']);
        const { spill } = kept.store;
        await until('all that was spilled is sent', async () => (await spill!.state()).rows === 0, 60_000);
        await until('every message was handled', () => ledger.effects().length > MESSAGES, 60_000);
        const effects = ledger.effects();
        expect(new Set(effects.map(({ n }) => n)).size).toBe(MESSAGES + 1);
        expect(effects).toHaveLength(MESSAGES + 1);
        for (let k = 0; k < KEYS; k += 1) {
          const order = effects.filter(({ key }) => key === `k${k}`).map(({ n }) => n);
          expect(order).toEqual(order.toSorted((a, b) => a - b));
        }
        expect(await publisher.publish(topic, { key: 'k0', n: MESSAGES })).toMatchObject({ outcome: 'confirmed' });
        expect(await publisher.close()).toMatchObject({ spilled: 0 });
        await consumer.close();
        await kept.close();
        await ledger.close();
      }, 180_000);
    }
  });
}

/** A topic that was made a moment ago may not have its leaders yet. */
async function subscribed(consume: () => Promise<unknown>): Promise<void> {
  await until('the consumer subscribes', async () => {
    try {
      await consume();
      return true;
    } catch (error) {
      if (isHoldfastError(error) && error.retryable) return false;
      throw error;
    }
  });
}

async function sqliteFile() {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-spill-'));
  const path = join(folder, 'store.db');
  const store = sqliteStore({ path });
  await store.migrate();
  const { DatabaseSync } = await import('node:sqlite');
  const handle = new DatabaseSync(path);
  return {
    path,
    store: store as unknown as Store<never>,
    async table(): Promise<void> {
      await store.outbox.transaction(async (tx) =>
        tx.exec('CREATE TABLE effects (id INTEGER PRIMARY KEY, key TEXT, n INTEGER)'),
      );
    },
    effects: (): Step[] =>
      handle
        .prepare('SELECT key, n FROM effects ORDER BY id')
        .all()
        .map(({ key, n }) => ({ key: String(key), n: Number(n) })),
    async close(): Promise<void> {
      await store.close();
      handle.close();
      await rm(folder, { recursive: true });
    },
  };
}
