import type { Headers, Incoming, Outgoing } from '../../src/port.ts';

/*
 * The fields of a stream entry:
 *
 *   id, source, time (epoch ms), content-type, key, dedupe-key, expires (epoch ms), body
 *   h:<name>     a header of the user's
 *   hf-<name>    a mark of the core's, on internal copies only
 *   hf-id        on internal copies of an entry that came without an id: where it first stood
 *
 * A foreign producer may write the same fields, or CloudEvents' attributes as ce_id, ce_source, ce_time, ce_partitionkey
 * (Redis has no binding of its own: fields are named as Kafka's headers). Without `body`,
 * the body is `data` or `payload` or the only field there is; else a JSON object of all fields. Beside a body, unknown
 * fields are headers.
 */

/** Message to fields: names and values in turn. */
export function toFields(message: Outgoing): (string | Uint8Array)[] {
  const fields: (string | Uint8Array)[] = [
    'id',
    message.id,
    'source',
    message.source,
    'time',
    String(message.publishedAt),
    'content-type',
    message.contentType,
  ];
  if (message.key !== undefined) fields.push('key', message.key);
  if (message.dedupeKey !== undefined) fields.push('dedupe-key', message.dedupeKey);
  if (message.expiresAt !== undefined) fields.push('expires', String(message.expiresAt));
  for (const name in message.headers) fields.push(`h:${name}`, message.headers[name]!);
  fields.push('body', message.body);
  return fields;
}

/** The same as a CloudEvent 1.0 in binary mode; ours are only the fields that it has no attribute for. */
export function toCloudEvent(message: Outgoing): (string | Uint8Array)[] {
  const source = encodeURI(message.source);
  const event: (string | Uint8Array)[] = [
    ...['ce_specversion', '1.0', 'ce_id', message.id, 'ce_source', source, 'ce_type', message.topology.topic],
    ...['ce_time', new Date(message.publishedAt).toISOString()],
    ...(message.key === undefined ? [] : ['ce_partitionkey', message.key]),
    // A URI reference: where something had to be escaped, our own consumers read it here.
    ...(source === message.source ? [] : ['source', message.source]),
  ];
  const fields = toFields(message);
  for (let i = 0; i < fields.length; i += 2)
    if (!replaced.has(fields[i] as string)) event.push(fields[i]!, fields[i + 1]!);
  return event;
}
const replaced = new Set(['id', 'source', 'time', 'key']);

/** Fields to message. */
export function fromFields(fields: readonly Buffer[]): Incoming {
  const named: Record<string, string | undefined> = {};
  const headers: Record<string, string> = {};
  const marks: Record<string, string> = {};
  const unknown: [name: string, value: Buffer][] = [];
  let body: Buffer | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i]!.toString();
    const value = fields[i + 1]!;
    if (name === 'body') body = value;
    else if (attributes.has(name)) named[name] = value.toString();
    else if (name.startsWith('h:')) put(headers, name.slice(2), value);
    else if (name.startsWith('hf-')) marks[name.slice(3)] = value.toString();
    else unknown.push([name, value]);
  }
  let contentType = named['content-type'];
  if (body === undefined) {
    const found = bodyOfForeign(fields, unknown);
    body = found.body;
    contentType ??= found.contentType;
    for (const [name, value] of found.rest) put(headers, name, value);
  } else for (const [name, value] of unknown) put(headers, name, value);
  return {
    id: named.id ?? named.ce_id ?? named['hf-id'],
    source: named.source ?? named.ce_source,
    // A plain view: a Buffer would slice and print otherwise than what the port promises.
    body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength),
    contentType,
    key: named.key ?? named.ce_partitionkey,
    dedupeKey: named['dedupe-key'],
    headers,
    marks,
    publishedAt: milliseconds(named.time) ?? instant(named.ce_time),
    expiresAt: milliseconds(named.expires),
  };
}

const attributes = new Set([
  'id',
  'source',
  'time',
  'content-type',
  'key',
  'dedupe-key',
  'expires',
  'ce_id',
  'ce_source',
  'ce_time',
  'ce_partitionkey',
  'ce_specversion',
  'ce_type',
  'ce_subject',
  'ce_dataschema',
  'hf-id',
]);

interface ForeignBody {
  readonly body: Buffer;
  readonly contentType?: string;
  readonly rest: readonly [name: string, value: Buffer][];
}

function bodyOfForeign(fields: readonly Buffer[], unknown: readonly [string, Buffer][]): ForeignBody {
  const named = unknown.find(([name]) => name === 'data') ?? unknown.find(([name]) => name === 'payload');
  if (named) return { body: named[1], rest: unknown.filter((field) => field !== named) };
  if (unknown.length === 1) return { body: unknown[0]![1], rest: [] };
  // Its own fields alone, whatever copies have added since, so that every copy has the same body.
  const own: Record<string, string> = Object.create(null);
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i]!.toString();
    if (!name.startsWith('hf-')) own[name] = fields[i + 1]!.toString();
  }
  return { body: Buffer.from(JSON.stringify(own)), contentType: 'application/json', rest: [] };
}

/** Names that belong to holdfast or to brokers are nobody's headers. */
function put(headers: Record<string, string>, name: string, value: Buffer): void {
  if (name.startsWith('hf-') || name.startsWith('x-') || name === '__proto__') return;
  headers[name] = value.toString();
}

function milliseconds(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,16}$/.test(value) ? Number(value) : undefined;
}

function instant(value: string | undefined): number | undefined {
  const parsed = value === undefined ? Number.NaN : Date.parse(value);
  return Number.isNaN(parsed) ? undefined : parsed;
}

/** Marks as the fields that a script adds to a copy. */
export const markFields = (marks: Headers): string[] =>
  Object.entries(marks).flatMap(([name, value]) => [`hf-${name}`, value]);

/** Lua: the fields of a copy of an entry: with new marks for old, and where it first stood if it has no id of its own. */
export const copyFields: string = `
local function copy_fields(fields, place, marks)
  local copy, identified = {}, false
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'id' or name == 'ce_id' or name == 'hf-id' then identified = true end
    if name == 'hf-id' or string.sub(name, 1, 3) ~= 'hf-' then
      copy[#copy + 1] = name
      copy[#copy + 1] = fields[i + 1]
    end
  end
  if not identified then
    copy[#copy + 1] = 'hf-id'
    copy[#copy + 1] = place
  end
  for i = 1, #marks do copy[#copy + 1] = marks[i] end
  return copy
end
`;
