import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import type { Headers, Incoming, Outgoing, Priority } from '../../src/port.ts';

/** The columns of a message, in the order of `toRow`. */
export const MESSAGE_COLUMNS =
  'message_id, source, content_type, key, dedupe_key, headers, marks, published_at, expires_at, body';

const LANES: readonly Priority[] = ['high', 'normal', 'low'];

/** Lanes as numbers, the first first. */
export const LANE_NUMBERS: readonly number[] = [0, 1, 2];

export function laneNumber(lane: Priority): number {
  return LANES.indexOf(lane);
}

export function laneName(lane: number): Priority {
  return LANES[lane]!;
}

/** Message to row. */
export function toRow(message: Outgoing): SQLInputValue[] {
  return [
    message.id,
    message.source,
    message.contentType,
    message.key ?? null,
    message.dedupeKey ?? null,
    toText(message.headers),
    null,
    message.publishedAt,
    message.expiresAt ?? null,
    message.body,
  ];
}

/** Row to message. */
export function fromRow(row: Readonly<Record<string, SQLOutputValue>>): Incoming {
  return {
    id: row.message_id as string,
    source: row.source as string,
    contentType: row.content_type as string,
    key: (row.key as string | null) ?? undefined,
    dedupeKey: (row.dedupe_key as string | null) ?? undefined,
    headers: fromText(row.headers as string | null),
    marks: fromText(row.marks as string | null),
    publishedAt: row.published_at as number,
    expiresAt: (row.expires_at as number | null) ?? undefined,
    body: row.body as Uint8Array,
  };
}

/** Headers or marks to a column: nothing where there are none. */
export function toText(headers: Headers): string | null {
  for (const _name in headers) return JSON.stringify(headers);
  return null;
}

function fromText(text: string | null): Headers {
  return text === null ? {} : (JSON.parse(text) as Headers);
}
