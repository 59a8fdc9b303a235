import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlite } from '../../adapters/sqlite/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import type { BrokerAdapter, PublishOutcome } from '../../src/port.ts';
import { until } from './port-harness.ts';
import { connect } from './traps-connect.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
  path = join(directory, 'broker.db');
});
afterEach(() => rmSync(directory, { recursive: true }));

const topic = defineTopic<string>('orders', { key: () => 'k', groups: { g: { order: 'key' } } });
const ids = Array.from({ length: 20 }, (_, n) => String(n));

/** Hears, and may change, what the adapter answers to each call of `publish`. */
function hearing(
  adapter: BrokerAdapter,
  hear: (outcomes: readonly PublishOutcome[], ids: readonly string[]) => readonly PublishOutcome[],
): BrokerAdapter {
  return {
    ...adapter,
    publish: async (batch, limit) =>
      hear(
        await adapter.publish(batch, limit),
        batch.map(({ id }) => id),
      ),
  };
}

describe('sqlite: order of one key while publishing fails', () => {
  it('Trap 55: refused for a lock in the middle of a key: none overtakes it', async () => {
    let refused = 0;
    const adapter = hearing(sqlite({ path, busyTimeoutMs: 100 }), (outcomes) => {
      refused += outcomes.filter(({ kind }) => kind === 'rejected').length;
      return outcomes;
    });
    await using client = await connect({ adapter });
    await client.publish(topic, 'first', { id: '0' });
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const publishing = ids.slice(1).map((id) => client.publish(topic, 'another', { id, timeoutMs: 30_000 }));
    await until('it is refused', () => refused > 0);
    other.exec('COMMIT');
    other.close();
    await Promise.all(publishing);
    const handled: string[] = [];
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.push(id));
    await until('all are handled', () => handled.length >= ids.length);
    expect(handled).toEqual(ids);
  });

  it('Trap 55: stored, and the answer lost, in the middle of a key: sent again before its successors', async () => {
    // A COMMIT that takes effect and fails cannot be had from SQLite: the answer is lost on its way from the adapter.
    let lost: readonly string[] = [];
    const adapter = hearing(sqlite({ path }), (outcomes, published) => {
      if (lost.length > 0 || !published.includes('1')) return outcomes;
      lost = published;
      return published.map(() => ({
        kind: 'unknown',
        error: Object.assign(new Error('lost'), { code: 'ECONNRESET' }),
      }));
    });
    const patient: BrokerAdapter = { ...adapter, isTransient: () => true };
    await using client = await connect({ adapter: patient });
    await client.publish(topic, 'first', { id: '0' });
    await Promise.all(ids.slice(1).map((id) => client.publish(topic, 'another', { id, timeoutMs: 30_000 })));
    expect(lost.length).toBeGreaterThan(0);
    const handled: string[] = [];
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.push(id));
    await until('all are handled', () => handled.length >= ids.length + lost.length);
    expect(handled).toEqual(['0', ...lost, ...lost, ...ids.filter((id) => id !== '0' && !lost.includes(id))]);
  });
});
