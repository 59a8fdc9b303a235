import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { consume, outgoing, publish, topologyOf, until } from './port-harness.ts';
import { benchOf } from './redis-harness.ts';
import { startWatched, type Watched } from './redis-sentinel.ts';
import { connect } from './traps-connect.ts';

let watched: Watched;
beforeEach(async () => {
  watched = await startWatched();
}, 60_000);
afterEach(async () => {
  await bench.close();
  await watched.stop();
}, 60_000);
const bench = benchOf(() => watched.primary.url);

const numbered = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => String(from + n));

describe('redis behind Sentinels', { timeout: 180_000 }, () => {
  it('Trap 22: kill -9 of the primary: publishing and consuming go on at the new one, and only the last confirmed can be lost', async () => {
    const topic = defineTopic<string>('orders', { groups: { g: {} } });
    await using client = await connect({ adapter: redis({ sentinels: watched.options, commandTimeoutMs: 1_000 }) });
    const handled = new Set<string>();
    await client.consume(topic, { group: 'g', leaseMs: 2_000 }, ({ id }) => void handled.add(id));
    let confirmed = 0;
    let confirmedByOld = 0;
    const publishing = (async () => {
      for (const id of numbered(0, 400)) {
        await client.publish(topic, `payload of ${id}`, { id, timeoutMs: 60_000 });
        confirmed += 1;
      }
    })();
    await until('some are confirmed', () => confirmed >= 200, 60_000);
    await watched.primary.kill();
    confirmedByOld = confirmed;
    await publishing;
    expect(await watched.primaryPort()).toBe(new URL(watched.replica.url).port);
    const missing = () => numbered(0, 400).filter((id) => !handled.has(id));
    await until(
      'all that the new one has are handled',
      async () => {
        const { ready = 0, inFlight = 0 } = await client.backlog(topic, 'g');
        return ready + inFlight === 0;
      },
      60_000,
    );
    // Replication is a stream: what is lost is its end, of which some may have been handled.
    expect(missing().filter((id) => Number(id) < confirmedByOld - 50 || Number(id) >= confirmedByOld)).toEqual([]);
    await watched.primary.restart();
    await client.publish(topic, 'last', { id: 'last' });
    await until('the last is handled', () => handled.has('last'));
  });

  it('Trap 22: a failover loses what only the old primary had: confirmed by default, never confirmed with replicas', async () => {
    const sentinels = watched.options;
    const usual = await bench.adapter({ sentinels, url: [] });
    const guarded = await bench.adapter({ sentinels, url: [], durability: { replicas: 1, timeoutMs: 300 } });
    const topology = topologyOf();
    await usual.declare(topology);
    const batch = (name: string) => numbered(0, 20).map((n) => outgoing(topology, `${name}-${n}`));
    const kinds = async (adapter: typeof usual, name: string) =>
      new Set((await publish(adapter, batch(name))).map(({ kind }) => kind));
    expect(await kinds(guarded, 'replicated')).toEqual(new Set(['confirmed']));
    await watched.cutReplication();
    expect(await kinds(usual, 'lost')).toEqual(new Set(['confirmed']));
    expect(await kinds(guarded, 'unknown')).toEqual(new Set(['unknown']));
    await watched.primary.kill();
    await watched.failedOver();
    await until('the new primary is found', async () => (await kinds(usual, 'later')).has('confirmed'));
    const inbox = await consume(usual, topology, { prefetch: 1_000 });
    await inbox.count(40);
    expect(new Set(inbox.texts().map((text) => text.split('-')[0]))).toEqual(new Set(['replicated', 'later']));

    // It comes back as a replica, so that there is one again.
    await watched.primary.restart();
    await until('a replica confirms', async () => (await kinds(guarded, 'unknown')).has('confirmed'), 60_000);
    await inbox.count(60);
    expect(inbox.texts().filter((text) => text.startsWith('unknown'))).toHaveLength(20);
  });

  it('Trap 22: a Sentinel that is silent, or gone, is passed over, at the start and after a failover', async () => {
    const [silent, gone] = watched.sentinels;
    await silent!.pause();
    const adapter = await bench.adapter({ sentinels: watched.options, url: [], commandTimeoutMs: 1_000 });
    const topology = topologyOf();
    await adapter.declare(topology);
    const inbox = await consume(adapter, topology);
    await publish(adapter, [outgoing(topology, 'a')]);
    await inbox.count(1);
    await silent!.resume();
    await watched.primary.kill();
    await watched.failedOver();
    await gone!.kill();
    await silent!.pause();
    await until(
      'b is confirmed',
      async () => (await publish(adapter, [outgoing(topology, 'b')]))[0]!.kind === 'confirmed',
      60_000,
    );
    await inbox.count(2);
    await silent!.resume();
  });
});
