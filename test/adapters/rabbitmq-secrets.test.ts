import { rabbitmq } from 'holdfast/rabbitmq';
import { expect, it } from 'vitest';
import { CANARY } from '../input/canary.ts';
import { DESERTED_PORT, refusedLogin, workingLogin } from './secrets.ts';

const server = process.env.HOLDFAST_RABBITMQ_URL!;
const management = process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL!;

function withLogin(url: string, user: string): string {
  const changed = new URL(url);
  changed.username = user;
  changed.password = CANARY;
  return changed.href;
}

it('a login that RabbitMQ refuses shows no password', async () => {
  const wrong = withLogin(server, 'nobody');
  expect((await refusedLogin(rabbitmq({ url: wrong }))).code).toBe('access-refused');
  const { host } = new URL(server);
  const apart = rabbitmq({
    url: `amqp://${host}`,
    username: 'nobody',
    password: CANARY,
    management: { url: wrong.replace('amqp:', 'http:') },
  });
  expect((await refusedLogin(apart)).code).toBe('access-refused');
});

it('neither does a server that is not there', async () => {
  expect((await refusedLogin(rabbitmq({ url: `amqp://u:${CANARY}@127.0.0.1:${DESERTED_PORT}` }))).code).toBe(
    'broker-unreachable',
  );
});

it('neither does a client through an outage', async () => {
  const user = `secrets-${crypto.randomUUID()}`;
  const api = async (method: string, path: string, body?: object): Promise<void> => {
    const { username, password, origin } = new URL(management);
    const login = Buffer.from(`${username || 'guest'}:${password || 'guest'}`).toString('base64');
    const headers = { authorization: `Basic ${login}`, 'content-type': 'application/json' };
    const answer = await fetch(`${origin}/api/${path}`, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  };
  await api('PUT', `users/${user}`, { password: CANARY, tags: '' });
  try {
    await api('PUT', `permissions/%2F/${user}`, { configure: '.*', write: '.*', read: '.*' });
    await workingLogin(server, (proxy) => rabbitmq({ url: withLogin(proxy.url, user), connectTimeoutMs: 1_000 }));
  } finally {
    await api('DELETE', `users/${user}`);
  }
});
