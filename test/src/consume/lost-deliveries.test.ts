import type { StandardSchemaV1 } from '@standard-schema/spec';
import { expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { connect, defineTopic } from '../../../src/index.ts';
import { gate } from '../fake-adapter.ts';

it('a handler whose message is lost hears it by its signal; the key waits until it has returned', async () => {
  const topic = defineTopic<number>('numbers', { groups: { g: { order: 'key' } }, key: () => 'k' });
  const adapter = memory();
  const client = await connect({ adapter });
  const started = gate();
  const aborted = gate();
  const finish = gate();
  const log: string[] = [];
  const both = gate();
  await client.consume(topic, { group: 'g' }, async ({ payload }, { signal }) => {
    log.push(`begin ${payload}`);
    if (log.length === 1) {
      signal.addEventListener('abort', () => aborted.open());
      started.open();
      await finish.opened;
    }
    log.push(`end ${payload}`);
    if (payload === 2) both.open();
  });
  await client.publish(topic, 1);
  await client.publish(topic, 2);
  await started.opened;
  adapter.disconnect();
  await aborted.opened;
  await new Promise((resolve) => setImmediate(resolve));
  expect(log).toEqual(['begin 1']);
  finish.open();
  await both.opened;
  expect(log).toEqual(['begin 1', 'end 1', 'begin 1', 'end 1', 'begin 2', 'end 2']);
  await client.close();
});

it('G9: a message that is still being decoded when the drain is over is given back unhandled', async () => {
  const decoding = gate();
  const decoded = gate();
  let published = false;
  const schema: StandardSchemaV1<number, number> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      async validate(value) {
        if (published) {
          decoding.open();
          await decoded.opened;
        }
        return { value: value as number };
      },
    },
  };
  const topic = defineTopic('numbers', { groups: ['g'], schema });
  const adapter = memory();
  const client = await connect({ adapter });
  let calls = 0;
  await client.publish(topic, 1);
  published = true;
  const consumer = await client.consume(topic, { group: 'g' }, () => {
    calls += 1;
  });
  await decoding.opened;
  const closed = consumer.close({ drainMs: 0 });
  // After its drain a consumer still waits for what it has aborted: only then is the schema through.
  setTimeout(() => decoded.open(), 20);
  expect(await closed).toMatchObject({ completed: 0, givenBack: 1 });
  expect(calls).toBe(0);
  await client.close();
});
