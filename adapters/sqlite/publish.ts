import type { DatabaseSync } from 'node:sqlite';
import type { AdapterHooks, BrokerAdapter, Outgoing, PublishOutcome } from '../../src/port.ts';
import { laneNumber, MESSAGE_COLUMNS, toRow } from './headers.ts';
import type { GroupRow, Registry } from './topology.ts';
import { isUncertain, type Writer } from './writer.ts';

/** Stores a batch in one transaction: each message once per group, or the whole batch not at all. */
export function createPublish(
  db: DatabaseSync,
  writer: Writer,
  registry: Registry,
  options: { readonly hooks: AdapterHooks; readonly busyTimeoutMs: number },
): BrokerAdapter['publish'] {
  const insert = db.prepare(
    `INSERT INTO hf_messages (grp, lane, shard, due, added_at, ${MESSAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );

  function store(batch: readonly Outgoing[]): PublishOutcome[] {
    const now = Date.now();
    const groupsOf = new Map<string, readonly GroupRow[]>();
    return batch.map((message) => {
      const { topic } = message.topology;
      // Read under the lock: a group that was declared before this transaction misses nothing of it (S4).
      const groups = groupsOf.get(topic) ?? registry.groups(topic);
      groupsOf.set(topic, groups);
      if (groups.length === 0) return { kind: 'unroutable' };
      const row = toRow(message);
      const due = message.delayMs > 0 ? now + Math.ceil(message.delayMs) : 0;
      let position = '';
      for (const group of groups) {
        // Messages without a key have no order to keep: they are spread.
        const shard = group.ordered ? (message.partition ?? Math.floor(Math.random() * group.shards)) : 0;
        position = `${topic}/${insert.run(group.id, laneNumber(message.lane), shard, due, now, ...row).lastInsertRowid}`;
      }
      return { kind: 'confirmed', position };
    });
  }

  return async (batch, { deadline, signal }) => {
    try {
      const outcomes = await writer.write(() => store(batch), {
        durable: true,
        notify: true,
        deadline: Math.min(deadline, Date.now() + options.busyTimeoutMs),
        signal,
      });
      await options.hooks.crashPoint?.('sqlite:publish-committed');
      return outcomes;
    } catch (error) {
      const kind = isUncertain(error) ? 'unknown' : 'rejected';
      return batch.map(() => ({ kind, error }));
    }
  };
}
