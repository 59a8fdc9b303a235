import { partitionOf } from '../partition.ts';
import type { OutboxRow, Outgoing, Topology } from '../port.ts';
import type { Prepared } from './prepare.ts';

/** A prepared message on its way to one broker: its partition, its times. */
export function route(prepared: Prepared, topology: Topology, source: string, now: number): Outgoing {
  return {
    topology,
    id: prepared.id,
    source,
    body: prepared.body,
    contentType: prepared.contentType,
    key: prepared.key,
    partition: prepared.key === undefined ? undefined : partitionOf(prepared.key, topology.partitions),
    lane: prepared.lane,
    dedupeKey: prepared.dedupeKey,
    headers: prepared.headers,
    publishedAt: now,
    expiresAt: prepared.expiresInMs === undefined ? undefined : now + prepared.expiresInMs,
    delayMs: prepared.delayMs,
  };
}

/** An outbox row as `route` would have made it when it was added, or published. */
export function routeRow(row: OutboxRow, topology: Topology): Outgoing {
  return { ...route(row, topology, row.source, row.publishedAt ?? row.addedAt), delayMs: row.delayMs };
}
