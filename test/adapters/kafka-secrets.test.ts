import { connect, defineTopic } from 'holdfast';
import { kafka } from 'holdfast/kafka';
import { expect, it } from 'vitest';
import { CANARY } from '../input/canary.ts';
import { DESERTED_PORT, refusedLogin } from './secrets.ts';

const brokers = process.env.HOLDFAST_KAFKA_URL!;

it.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
  'a %s login at a listener that knows none shows no password',
  async (mechanism) => {
    const sasl = { mechanism, username: 'nobody', password: CANARY };
    await refusedLogin(kafka({ brokers, sasl, connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 }));
  },
);

it('neither does one that a function gives', async () => {
  const sasl = async () => ({ mechanism: 'plain' as const, username: 'nobody', password: CANARY });
  await refusedLogin(kafka({ brokers, sasl: sasl as never, connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 }));
});

it('neither does a server that is not there', async () => {
  const sasl = { mechanism: 'plain' as const, username: 'u', password: CANARY };
  const away = kafka({ brokers: `127.0.0.1:${DESERTED_PORT}`, sasl, connectTimeoutMs: 500, requestTimeoutMs: 1_000 });
  expect((await refusedLogin(away)).code).toBe('broker-unreachable');
});

it('Kafka’s metrics cannot tell a.b from a_b: the second of the two topics is refused', async () => {
  const name = `names-${crypto.randomUUID()}`;
  await using client = await connect({ adapter: kafka({ brokers }) });
  await client.publish(defineTopic(`${name}.a`, { groups: ['g'] }), 1);
  await expect(client.publish(defineTopic(`${name}_a`, { groups: ['g'] }), 1)).rejects.toMatchObject({
    outcome: 'not-sent',
    code: 'topology-conflict',
  });
});
