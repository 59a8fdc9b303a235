import { expect, it } from 'vitest';
import { connect, defineTopic } from '../../src/index.ts';
import type { Receive } from '../../src/port.ts';
import { until } from '../conformance/until.ts';
import { deliveryOf, fakeAdapter, fakeSource } from './fake-adapter.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });

it('S35: whatever an adapter throws comes out wrapped once, with its code, retryable where the adapter says so', async () => {
  const coded = (adapterCode: string): Error => Object.assign(new Error('as it says'), { adapterCode });
  const plain = new Error('the client library’s own');
  const unreachable = coded('broker-unreachable');
  await expect(connect({ adapter: fakeAdapter({ connect: () => Promise.reject(unreachable) }) })).rejects.toMatchObject(
    { code: 'broker-unreachable', cause: unreachable, retryable: true },
  );

  const failing = fakeAdapter({
    declare: () => Promise.reject(coded('topology-conflict')),
    backlog: () => Promise.reject(plain),
  });
  await using client = await connect({ adapter: failing });
  await expect(client.publish(topic, 1)).rejects.toMatchObject({ code: 'topology-conflict', outcome: 'not-sent' });

  await using other = await connect({ adapter: fakeAdapter({ backlog: () => Promise.reject(plain) }) });
  await expect(other.backlog(topic, 'g')).rejects.toMatchObject({ code: 'adapter-failed', cause: plain });
});

it('S35: settlements that are stale or unknown are counted and said, and stop nothing', async () => {
  let receive!: Receive;
  const answers = ['stale', 'unknown', 'settled'] as const;
  const adapter = fakeAdapter({
    subscribe: async (_, given) => {
      receive = given;
      return fakeSource({
        settle: async (batch) => batch.map(({ delivery }) => answers[delivery.handle as number]!),
      });
    },
  });
  const client = await connect({ adapter });
  const said = { stale: 0, unknown: 0 };
  client.on('unsettled', ({ stale, unknown }) => {
    said.stale += stale;
    said.unknown += unknown;
  });
  const handled: string[] = [];
  await client.consume(topic, { group: 'g' }, ({ id }) => void handled.push(id));
  receive.deliver(answers.map((_, n) => deliveryOf(n)));
  await until('all are handled, and said', () => handled.length === 3 && said.stale + said.unknown === 2);
  expect(said).toEqual({ stale: 1, unknown: 1 });
  await client.close();
});
