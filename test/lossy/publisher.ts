/** A process of its own that publishes at a steady rate, and writes down what was confirmed to it. Run by round.ts. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerAdapter, connect, defineTopic, isHoldfastError } from 'holdfast';
import pg from 'pg';
import { type Outcome, openLedger, type Route } from '../chaos/ledger-file.ts';
import type { Link } from './scene.ts';

export interface Job {
  readonly directory: string;
  readonly topic: string;
  readonly link: Link;
}

/** What the process tells whoever started it. */
export interface Told {
  /** So many, so far. */
  readonly confirmed: number;
  /** What holdfast says of the setting, as soon as it has had to do with the topic. */
  readonly says?: string;
}

const TICK_MS = 10;
const PER_TICK = 2;
const MOST_UNCONFIRMED = 500;
const TIMEOUT_MS = 60_000;
const BODY = 'x'.repeat(200);

interface Sender {
  readonly route: Route;
  send(id: string): Promise<unknown>;
  says(): Promise<string>;
  close(): Promise<unknown>;
}

async function senderOf({ link, topic: name }: Job): Promise<Sender> {
  return link.via === 'postgres' ? await byOutbox(link.url, name) : await directly(link, name);
}

async function directly(link: Exclude<Link, { via: 'postgres' }>, name: string): Promise<Sender> {
  const adapter = await adapterOf(link);
  const client = await connect({ adapter, source: 'lossy' });
  const warnings = new Set<string>();
  client.on('warning', ({ code, detail }) => warnings.add(`${code}: ${detail}`));
  // A group of Kafka's is of no use here, and its coordinator may be what is killed.
  const topic = defineTopic<string>(name, { partitions: 1, ...(link.via === 'redis' ? { groups: ['g'] } : {}) });
  return {
    route: 'direct',
    send: (id) => client.publish(topic, BODY, { id, timeoutMs: TIMEOUT_MS }),
    async says() {
      const { ready, checks } = await client.health();
      const wrong = checks.filter(({ ok }) => !ok).map(({ name: check, detail }) => `${check}: ${detail}`);
      return [
        `durability '${adapter.capabilities.durability}'`,
        ...[...warnings].map((text) => `warning ${text}`),
        ready ? 'health ready' : `health not ready, ${wrong.join(', ')}`,
      ].join('; ');
    },
    close: () => client.close(),
  };
}

async function adapterOf({ via, options }: Exclude<Link, { via: 'postgres' }>): Promise<BrokerAdapter> {
  return via === 'redis'
    ? (await import('holdfast/redis')).redis(options)
    : (await import('holdfast/kafka')).kafka(options);
}

async function byOutbox(url: string, name: string): Promise<Sender> {
  const { postgresStore } = await import('holdfast/postgres');
  const pool = new pg.Pool({ connectionString: url, max: 8, connectionTimeoutMillis: 5_000, query_timeout: 10_000 });
  pool.on('error', () => undefined);
  const store = postgresStore<pg.PoolClient>({ pool, source: 'lossy', notify: false });
  const topic = defineTopic<string>(name, { groups: ['g'] });
  return {
    route: 'outbox',
    send: (id) =>
      store.outbox.transaction(async (tx) => {
        await tx.query('insert into business (topic, id) values ($1, $2)', [name, id]);
        await store.outbox.add(tx, topic, BODY, { id });
      }),
    says: async () => 'nothing: a store has no health, and does not ask for synchronous_commit',
    async close() {
      await store.close();
      await pool.end();
    },
  };
}

function outcomeOf(error: unknown): Outcome {
  return (isHoldfastError(error) && error.outcome) || 'unknown';
}

const job = JSON.parse(process.argv[2] ?? '') as Job;
const ledger = openLedger(job.directory, job.topic);
const orphaned = (): void => process.exit(1);
process.on('disconnect', orphaned);
// The terminal sends Ctrl-C to all; whoever started us ends us.
process.on('SIGINT', () => undefined);
let stopping = false;
process.once('message', () => {
  stopping = true;
});
const sender = await senderOf(job);
const tell = (told: Told): void => void process.send?.(told);
const { route } = sender;
const { topic } = job;
const pending = new Set<Promise<void>>();
let confirmed = 0;

async function sendOne(seq: number): Promise<void> {
  const id = `${topic}.${seq}`;
  ledger.write({ e: 'begin', id, n: 1, route, topic, key: '', seq });
  let outcome: Outcome = 'ok';
  let code: string | undefined;
  try {
    await sender.send(id);
    confirmed += 1;
  } catch (error) {
    outcome = outcomeOf(error);
    code = String((error as { code?: unknown }).code);
  }
  ledger.write({ e: 'end', id, n: 1, outcome, ...(code === undefined ? {} : { code }) });
}

for (let seq = 0, said = false; !stopping; ) {
  for (let n = 0; n < PER_TICK && pending.size < MOST_UNCONFIRMED; n++) {
    const sending: Promise<void> = sendOne(seq++).finally(() => pending.delete(sending));
    pending.add(sending);
  }
  if (confirmed > 0 && !said) {
    said = true;
    tell({ confirmed, says: await sender.says() });
  }
  tell({ confirmed });
  await sleep(TICK_MS);
}
await Promise.all(pending);
await sender.close();
ledger.close();
process.off('disconnect', orphaned);
process.disconnect();
