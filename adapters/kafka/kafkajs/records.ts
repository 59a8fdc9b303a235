import type { KafkaRecord, RecordHeaders } from '../client.ts';
import type { RawRecord } from './cluster.ts';

const none: RecordHeaders = Object.freeze(Object.create(null) as Record<string, Uint8Array>);

/** A record of kafkajs as the port has it. */
export function recordOf(
  raw: Omit<RawRecord, 'headers'> & { readonly headers?: Readonly<Record<string, unknown>> },
): KafkaRecord {
  const timestamp = Number(raw.timestamp);
  return {
    offset: Number(raw.offset),
    timestamp: timestamp >= 0 ? timestamp : undefined,
    key: raw.key,
    value: raw.value,
    headers: raw.headers === undefined ? none : headersOf(raw.headers),
  };
}

function headersOf(raw: Readonly<Record<string, unknown>>): RecordHeaders {
  let headers: Record<string, Uint8Array> | undefined;
  for (const name of Object.keys(raw)) {
    const given = raw[name];
    // A name that occurs twice, or that of a method of every object, comes as an array.
    const value = Array.isArray(given) ? given.findLast((one) => Buffer.isBuffer(one)) : given;
    if (!Buffer.isBuffer(value)) continue;
    headers ??= Object.create(null) as Record<string, Uint8Array>;
    headers[name] = value;
  }
  return headers ?? none;
}
