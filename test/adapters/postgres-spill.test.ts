import { afterAll, describe, expect, it } from 'vitest';
import { memoryBroker } from '../../adapters/memory/index.ts';
import { connect } from '../../src/connect.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import { until } from '../conformance/until.ts';
import { weatherAdapter } from '../src/publish/spill-fixture.ts';
import { admin, type Opened, open } from './postgres-store-fixture.ts';

interface Step {
  readonly key: string;
  readonly n: number;
}
const topic = defineTopic<Step>('spill-postgres', {
  groups: { g: { order: 'key' } },
  key: ({ key }) => key,
  partitions: 4,
});
afterAll(() => admin.end());

async function outcomeOf(publishing: Promise<{ readonly outcome: string }>): Promise<string> {
  try {
    return (await publishing).outcome;
  } catch (error) {
    return isHoldfastError(error) ? `${error.code} ${error.outcome}` : String(error);
  }
}
const rowsIn = async ({ store }: Opened): Promise<number> => (await store.spill!.state()).rows;

describe('postgres: spill', () => {
  it('S16: two clients spill into one store and drain it side by side: each message once with the inbox, in order per key', async () => {
    const opened = await open({ max: 8 });
    const broker = memoryBroker();
    const one = weatherAdapter(broker);
    const two = weatherAdapter(broker);
    const clients = await Promise.all([
      connect({ adapter: one.adapter, source: 'one', spill: { store: opened.store, spillAfterMs: 50 } }),
      connect({ adapter: two.adapter, source: 'two', spill: { store: opened.other, spillAfterMs: 50 } }),
    ]);
    const handled: { source: string; key: string; n: number }[] = [];
    await clients[0].consume(
      topic,
      { group: 'g', inbox: opened.store.inbox, concurrency: 4 },
      ({ payload, source }) => {
        handled.push({ ...payload, source: source! });
      },
    );
    const outcomes: string[] = [];
    const publishing: Promise<unknown>[] = [];
    for (let n = 0; n < 300; n += 1) {
      if (n === 60) one.weather.now = two.weather.now = 'doubtful';
      if (n === 240) one.weather.now = two.weather.now = 'fine';
      for (const [index, client] of clients.entries()) {
        // Order holds per process, so each has keys of its own.
        const step = { key: `${index}-${n % 4}`, n };
        publishing.push(outcomeOf(client.publish(topic, step)).then((outcome) => outcomes.push(outcome)));
      }
      if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await Promise.all(publishing);
    expect(new Set(outcomes)).toEqual(new Set(['confirmed', 'spilled']));
    await until('the store is empty', async () => (await rowsIn(opened)) === 0);
    await until('all were handled', () => handled.length >= 600);
    expect(handled).toHaveLength(600);
    for (const key of new Set(handled.map((each) => each.key))) {
      const order = handled.filter((each) => each.key === key).map(({ n }) => n);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
    for (const client of clients) await client.close();
    await opened.close();
  });

  it('S16: the bound counts what others have spilled, from the very start', async () => {
    const opened = await open();
    const one = weatherAdapter();
    const two = weatherAdapter();
    const maxBytes = 6_000;
    const options = { maxBytes, spillAfterMs: 20 };
    const first = await connect({ adapter: one.adapter, spill: { ...options, store: opened.store } });
    one.weather.now = 'refused';
    const fill = Array.from({ length: 40 }, (_, n) => outcomeOf(first.publish(topic, { key: 'k', n })));
    expect(await Promise.all(fill)).toContain('spill-full not-sent');
    const held = await opened.store.spill!.state();
    expect(held.bytes).toBeLessThanOrEqual(maxBytes);
    two.weather.now = 'refused';
    const second = await connect({ adapter: two.adapter, spill: { ...options, store: opened.other } });
    expect(await outcomeOf(second.publish(topic, { key: 'l', n: 0 }))).toBe('spill-full not-sent');
    expect(await rowsIn(opened)).toBe(held.rows);
    await first.close();
    await second.close();
    await opened.close();
  });

  it('S16: a database that is cut off fails the publish, says whether it may be stored, and is used again afterwards', async () => {
    const opened = await open();
    const { adapter, weather } = weatherAdapter();
    const client = await connect({ adapter, spill: { store: opened.store, spillAfterMs: 20 } });
    await client.publish(topic, { key: 'k', n: 0 });
    weather.now = 'refused';
    expect(await outcomeOf(client.publish(topic, { key: 'k', n: 1 }))).toBe('spilled');
    const lock = await admin.connect();
    await lock.query('BEGIN');
    await lock.query(`LOCK TABLE "${opened.schema}".outbox IN SHARE MODE`);
    const stuck = outcomeOf(client.publish(topic, { key: 'k', n: 2 }));
    await until('its insert waits and was killed', async () => {
      const { rowCount } = await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO "${opened.schema}".%published_at, spilled_bytes)%'`,
      );
      return rowCount! > 0;
    });
    expect(await stuck).toBe('spill-failed not-sent');
    await lock.query('ROLLBACK');
    lock.release();
    expect(await outcomeOf(client.publish(topic, { key: 'k', n: 3 }))).toBe('spilled');
    weather.now = 'fine';
    await until('the store is empty', async () => (await rowsIn(opened)) === 0);
    expect(await client.close()).toMatchObject({ spilled: 0 });
    await opened.close();
  });
});
