import { redis, redisDedupe } from 'holdfast/redis';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { CANARY } from '../input/canary.ts';
import { DESERTED_PORT, refusedLogin, seen, workingLogin } from './secrets.ts';

const server = process.env.HOLDFAST_REDIS_URL!;

function withLogin(url: string, user: string): string {
  const changed = new URL(url);
  changed.username = user;
  changed.password = CANARY;
  return changed.href;
}

it('a login that Redis refuses shows no password', async () => {
  expect((await refusedLogin(redis({ url: withLogin(server, 'nobody') }))).code).toBe('access-refused');
});

it('neither does a server that is not there', async () => {
  const url = `redis://u:${CANARY}@127.0.0.1:${DESERTED_PORT}`;
  expect((await refusedLogin(redis({ url, connectTimeoutMs: 500 }))).code).toBe('broker-unreachable');
});

it('neither do a client and a dedupe store, through an outage', async () => {
  const user = `secrets-${crypto.randomUUID()}`;
  const admin = new Redis(server);
  try {
    await admin.call('ACL', 'SETUSER', user, 'on', `>${CANARY}`, '~*', '&*', '+@all');
    await workingLogin(server, (proxy) =>
      redis({ url: withLogin(proxy.url, user), connectTimeoutMs: 500, commandTimeoutMs: 500 }),
    );
    const all = seen();
    const store = redisDedupe({ url: withLogin(server, user) });
    await store.claim(user);
    await admin.call('ACL', 'DELUSER', user);
    all.add('claim', await store.claim(user).catch((error: unknown) => error));
    all.add('store', store);
    await store.close();
    all.holdsNoPassword();
  } finally {
    await admin.call('ACL', 'DELUSER', user);
    admin.disconnect();
  }
});
