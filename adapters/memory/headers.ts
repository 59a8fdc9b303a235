import type { Headers, Incoming, Outgoing } from '../../src/port.ts';

/** Into the broker: a copy, so that nothing done to the message after `publish` changes what is stored. */
export function toStored(message: Outgoing): Incoming {
  return {
    id: message.id,
    source: message.source,
    // Not slice(): a Buffer's is a view of the same bytes.
    body: new Uint8Array(message.body),
    contentType: message.contentType,
    key: message.key,
    dedupeKey: message.dedupeKey,
    headers: { ...message.headers },
    marks: {},
    publishedAt: message.publishedAt,
    expiresAt: message.expiresAt,
  };
}

/** Out of the broker: a copy again, so that a handler that writes into its body spoils no redelivery and no other group. */
export function fromStored(stored: Incoming): Incoming {
  return { ...stored, body: new Uint8Array(stored.body), headers: { ...stored.headers }, marks: { ...stored.marks } };
}

/** The same message under other marks. */
export function withMarks(stored: Incoming, marks: Headers): Incoming {
  return { ...stored, marks: { ...marks } };
}
