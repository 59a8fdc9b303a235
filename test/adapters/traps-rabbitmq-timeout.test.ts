import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until } from '../conformance/until.ts';
import { type Server, startServer } from '../fleet/index.ts';
import { closeAll, say, versionOf } from './rabbitmq-fixture.ts';
import { connect } from './traps-connect.ts';

afterEach(closeAll);

describe('rabbitmq: a handler that runs for longer than the broker allows', () => {
  let server: Server;
  beforeAll(async () => {
    // In milliseconds: how long a delivery may be unacknowledged, and how often channels look (by default every minute).
    const config = { consumer_timeout: '1000' };
    const env = {
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 500',
    };
    server = await startServer('rabbitmq', { own: true, config, env });
  }, 180_000);
  afterAll(() => server.stop());

  it('Trap 10: the broker takes its messages back; the consumer comes back by itself, and nothing is lost', async () => {
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { slow: {}, quick: {} } });
    const version = await versionOf(server.url);
    await using client = await connect({ adapter: rabbitmq({ url: server.url }) });
    const warnings: string[] = [];
    client.on('warning', ({ code, detail }) => warnings.push(`${code}: ${detail}`));
    const release = Promise.withResolvers<void>();
    const calls: string[] = [];
    const slow = new Set<string>();
    const quick = new Set<string>();
    await client.consume(topic, { group: 'slow', concurrency: 5 }, async ({ id }) => {
      calls.push(id);
      if (id === 'slow') await release.promise;
      slow.add(id);
    });
    await client.consume(topic, { group: 'quick' }, ({ id }) => void quick.add(id));
    await client.publish(topic, 'slow', { id: 'slow' });
    await until('the broker has given it out again', () => calls.filter((id) => id === 'slow').length > 1);

    await client.publish(topic, 'next', { id: 'next' });
    await until('the consumer handles what comes next', () => slow.has('next') && quick.has('next'));
    release.resolve();
    await until('nothing is left', async () => slow.has('slow') && (await client.backlog(topic, 'slow')).ready === 0);
    // From 4.3 on the broker cancels the consumer alone; before, it closes the channel (406).
    const how = version.atLeast(4, 3) ? /^consumer-cancelled: .*:slow"/ : /^consumer-channel-closed: .*:slow": .*406/;
    expect(warnings.filter((text) => !how.test(text))).toEqual([]);
    expect(warnings.length).toBeGreaterThan(0);
    say(version, `ends a handler that runs too long by ${warnings[0]}`);
    expect([...slow].sort()).toEqual(['next', 'slow']);
    expect((await client.backlog(topic, 'slow')).dead).toBe(0);
    expect(await client.health()).toMatchObject({ live: true, ready: true });
  });
});
