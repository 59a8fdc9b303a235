import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Client, connect, defineTopic } from '../../src/index.ts';
import type { Receive } from '../../src/port.ts';
import { deliveryOf, fakeAdapter, fakeSource } from './fake-adapter.ts';

const topic = defineTopic<number>('orders', { groups: ['billing', 'mail'] });

/** What the broker holds for each group, and what it does with it. */
interface Scene {
  readonly client: Client;
  readonly ready: Record<string, number | undefined>;
  readonly receivers: Map<string, Receive>;
  connected: boolean;
}

async function open(): Promise<Scene> {
  const receivers = new Map<string, Receive>();
  const ready: Record<string, number | undefined> = { billing: 0, mail: 0 };
  const scene = { ready, receivers, connected: true };
  const nothing = { inFlight: undefined, delayed: undefined, dead: undefined, oldestAgeMs: undefined, exact: false };
  const adapter = fakeAdapter({
    capabilities: { backlog: ['ready'] },
    backlog: async (_, group) => ({ ...nothing, ready: ready[group] }),
    health: async () => ({ connected: scene.connected, checks: [] }),
    async subscribe({ group }, receive) {
      receivers.set(group, receive);
      return fakeSource();
    },
  });
  return Object.assign(scene, { client: await connect({ adapter }) });
}

const delivery = deliveryOf(1);

describe('S31: health', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] }));
  afterEach(() => void vi.useRealTimers());

  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  const red = async ({ client }: Scene): Promise<readonly string[]> =>
    (await client.health()).checks.filter(({ ok }) => !ok).map(({ name }) => name);

  it('is red for a consumer to which nothing comes though messages wait, and names its topic and group', async () => {
    const scene = await open();
    await scene.client.consume(topic, { group: 'billing', timeoutMs: 1_000 }, () => undefined);
    await scene.client.consume(topic, { group: 'mail', timeoutMs: 1_000 }, () => undefined);
    scene.ready.billing = 5;
    await pass(29_000);
    expect(await red(scene)).toEqual([]);
    await pass(2_000);
    await scene.client.health();
    await pass(2_000);
    expect(await scene.client.health()).toMatchObject({ live: true, ready: false });
    expect(await red(scene)).toEqual(['consume orders as billing']);
    const check = (await scene.client.health()).checks.find(({ ok }) => !ok);
    expect(check?.detail).toMatch(/^5 messages wait, and nothing was fetched or settled for 33 s$/);
    scene.receivers.get('billing')!.deliver([delivery]);
    await pass(10);
    expect(await scene.client.health()).toMatchObject({ live: true, ready: true });
  });

  it('waits for as long as a handler may run', async () => {
    const scene = await open();
    await scene.client.consume(topic, { group: 'billing', timeoutMs: 90_000 }, () => undefined);
    scene.ready.billing = 5;
    await pass(60_000);
    await scene.client.health();
    await pass(20_000);
    expect(await red(scene)).toEqual([]);
    await pass(11_000);
    await scene.client.health();
    await pass(2_000);
    expect(await red(scene)).toEqual(['consume orders as billing']);
  });

  it('does not take a message that has just come, after a long silence, for one that was left lying', async () => {
    const scene = await open();
    await scene.client.consume(topic, { group: 'billing', timeoutMs: 1_000 }, () => undefined);
    for (let hour = 0; hour < 3; hour += 1) {
      await pass(3_600_000);
      scene.ready.billing = 1;
      expect(await red(scene)).toEqual([]);
      await pass(100);
      scene.ready.billing = 0;
      scene.receivers.get('billing')!.deliver([delivery]);
      await pass(10);
      expect(await red(scene)).toEqual([]);
    }
  });

  it('is green for a consumer that is paused, that is at work, or whose backlog nobody knows', async () => {
    const scene = await open();
    const consumer = await scene.client.consume(topic, { group: 'billing', timeoutMs: 1_000 }, () => undefined);
    let finish: () => void = () => undefined;
    await scene.client.consume(topic, { group: 'mail', timeoutMs: 600_000 }, () => {
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    scene.receivers.get('mail')!.deliver([delivery]);
    consumer.pause();
    scene.ready.billing = 5;
    scene.ready.mail = 5;
    await pass(60_000);
    await scene.client.health();
    await pass(5_000);
    expect(await red(scene)).toEqual([]);
    consumer.resume();
    scene.ready.billing = undefined;
    expect(await red(scene)).toEqual([]);
    finish();
  });

  it('is never a reason to restart us, whatever the broker does', async () => {
    const scene = await open();
    scene.connected = false;
    expect(await scene.client.health()).toMatchObject({ live: true, ready: false });
    expect(await red(scene)).toEqual(['connection']);
    scene.connected = true;
    expect(await scene.client.health()).toMatchObject({ live: true, ready: true });
  });
});
