import { EventEmitter } from 'node:events';
import type { ChannelModel } from 'amqplib';
import { expect, it } from 'vitest';
import { bell } from '../../adapters/rabbitmq/bell.ts';
import type { Link } from '../../adapters/rabbitmq/connection.ts';
import { type Parcel, sender } from '../../adapters/rabbitmq/sender.ts';

/** A connection whose channels confirm each publish at once, or all of them when one is made to die. */
function connection() {
  const channels: EventEmitter[] = [];
  const published: { readonly channel: number; readonly exchange: string }[] = [];
  const model = {
    async createConfirmChannel() {
      const number = channels.length;
      const channel = Object.assign(new EventEmitter(), {
        publish(exchange: string, ...[, , , confirm]: [string, Buffer, object, (error: null) => void]) {
          published.push({ channel: number, exchange });
          setImmediate(confirm, null);
          return true;
        },
      });
      channels.push(channel);
      return channel;
    },
  } as unknown as ChannelModel;
  const link = { changed: bell(), current: () => model, isBlocked: () => false, lastError: () => undefined };
  return { channels, published, link: link as unknown as Link };
}

const to = (exchange: string): Parcel => ({ exchange, routingKey: '', body: Buffer.from('x'), properties: {} });
const limit = () => ({ deadline: Date.now() + 10_000 });

it('has a channel for each of 256 names, and one for all further ones, which still publish', async () => {
  const { channels, published, link } = connection();
  const { send } = sender(link, { onMissing: async () => undefined });
  const names = Array.from({ length: 300 }, (_, n) => `topic-${n}`);
  for (let round = 0; round < 2; round++) {
    const outcomes = await Promise.all(names.map((name) => send(name, [to(name)], limit())));
    expect(new Set(outcomes.flat().map(({ kind }) => kind))).toEqual(new Set(['confirmed']));
  }
  expect(channels).toHaveLength(257);
  const shared = published.filter(({ channel }) => channel === published.at(-1)!.channel);
  expect(new Set(shared.map(({ exchange }) => exchange))).toEqual(new Set(names.slice(256)));
});

it('what the shared channel died of, an exchange that is gone, is declared again whatever topic it was of', async () => {
  const { channels, link } = connection();
  const missing: string[] = [];
  const { send } = sender(link, { onMissing: async (name) => void missing.push(name) });
  for (let n = 0; n <= 256; n++) await send(`topic-${n}`, [to(`topic-${n}`)], limit());
  channels.at(-1)!.emit('error', Object.assign(new Error('no exchange'), { code: 404 }));
  channels.at(-1)!.emit('close');
  expect(await send('topic-256', [to('topic-256')], limit())).toEqual([{ kind: 'confirmed' }]);
  expect(missing).toEqual(['*']);
});
