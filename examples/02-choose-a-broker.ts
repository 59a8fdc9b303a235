// The same topics and handlers on SQLite while developing, on the team's broker in production.
// HOLDFAST_ENV (else NODE_ENV, else 'development') picks the environment; only its adapter is loaded.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, defineConfig, defineTopic } from 'holdfast';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-example-'));
const signedUp = defineTopic<{ email: string }>('users.signed-up', { groups: ['welcome'] });

const config = defineConfig({
  topics: [signedUp],
  environments: {
    development: { adapter: `sqlite:${join(folder, 'dev.db')}` },
    staging: { adapter: 'redis://redis.staging:6379' },
    production: {
      adapter: async () => (await import('holdfast/rabbitmq')).rabbitmq({ url: process.env.AMQP_URL ?? '' }),
      declare: 'verify',
    },
  },
});

delete process.env.NODE_ENV;
const client = await connect(config);

const { promise: greeted, resolve } = Promise.withResolvers<string>();
await client.consume(signedUp, { group: 'welcome' }, ({ payload }) => resolve(payload.email));
await client.publish(signedUp, { email: 'ada@example.org' });

console.log(`welcome, ${await greeted}`);
await client.close();
rmSync(folder, { recursive: true });
// prints: welcome, ada@example.org
