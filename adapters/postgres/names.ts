import { createHash } from 'node:crypto';

/** The store's tables, quoted and with their schema, ready to be put into a statement. */
export interface Names {
  readonly schema: string;
  readonly prefix: string;
  readonly quotedSchema: string;
  readonly outbox: string;
  readonly parked: string;
  readonly shapes: string;
  readonly leases: string;
  readonly relays: string;
  readonly inbox: string;
  readonly dedupe: string;
  readonly haltedKeys: string;
  readonly haltedMessages: string;
  readonly migrations: string;
  /** Where rows of this outbox are announced. Channels belong to the whole database, and are at most 63 bytes long. */
  readonly channel: string;
}

/** Both parts were checked to be plain identifiers, so quoting them is all that is needed. */
export function namesOf(schema: string, prefix: string): Names {
  const table = (name: string): string => `"${schema}"."${prefix}${name}"`;
  const place = createHash('sha256').update(`${schema}.${prefix}`).digest('hex').slice(0, 16);
  return {
    schema,
    prefix,
    quotedSchema: `"${schema}"`,
    outbox: table('outbox'),
    parked: table('outbox_parked'),
    shapes: table('outbox_shapes'),
    leases: table('outbox_leases'),
    relays: table('outbox_relays'),
    inbox: table('inbox'),
    dedupe: table('dedupe'),
    haltedKeys: table('halted_keys'),
    haltedMessages: table('halted_messages'),
    migrations: table('migrations'),
    channel: `holdfast_${place}`,
  };
}
