import { postgresDedupe, postgresStore } from 'holdfast/postgres';
import { Pool } from 'pg';
import { expect, it } from 'vitest';
import { CANARY } from '../input/canary.ts';
import { DESERTED_PORT, seen } from './secrets.ts';

const server = process.env.HOLDFAST_POSTGRES_URL!;

function pool(change: (url: URL) => void): Pool {
  const url = new URL(server);
  url.password = CANARY;
  change(url);
  return new Pool({ connectionString: url.href, connectionTimeoutMillis: 2_000 });
}

it.each<readonly [string, (url: URL) => void]>([
  [
    'a user that does not exist',
    (url) => {
      url.username = 'nobody';
    },
  ],
  [
    'a database that does not exist',
    (url) => {
      url.pathname = `/${CANARY.replace(/[^a-z]/g, '')}-no`;
    },
  ],
  [
    'a server that is not there',
    (url) => {
      url.host = `127.0.0.1:${DESERTED_PORT}`;
    },
  ],
])('%s: neither store nor errors show the password', async (_, change) => {
  const all = seen();
  const away = pool(change);
  const store = postgresStore({ pool: away });
  const dedupe = postgresDedupe({ pool: away });
  const attempts = {
    migrate: () => store.migrate(),
    lease: () => store.outbox.relay.lease('o', 1_000),
    transaction: () => store.outbox.transaction(async () => undefined),
    seen: () => store.inbox.seen([{ group: 'g', topic: 't', identity: 'i' }]),
    claim: () => dedupe.claim('k'),
  };
  for (const [what, attempt] of Object.entries(attempts)) {
    const error: unknown = await attempt().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error, what).toBeInstanceOf(Error);
    all.add(what, error);
  }
  all.add('store', store);
  all.add('dedupe store', dedupe);
  await store.close();
  await dedupe.close();
  await away.end();
  all.holdsNoPassword();
});
