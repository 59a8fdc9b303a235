import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import { sqliteStore } from '../../adapters/sqlite/store.ts';
import { connect } from '../../src/connect.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until } from '../conformance/until.ts';
import { type Proxied, startProxied } from '../fleet/proxied.ts';
import type { PublishRequest, SpillTask } from './spill-child.ts';

let fleet: Proxied;
let folder: string;
beforeAll(async () => {
  fleet = await startProxied('redis', 1);
  folder = await mkdtemp(join(tmpdir(), 'holdfast-spill-'));
}, 180_000);
afterAll(async () => {
  await fleet.stop();
  await rm(folder, { recursive: true });
});

interface Child {
  readonly process: ChildProcess;
  readonly said: string[];
  publish(request: PublishRequest): void;
}

async function start(task: SpillTask): Promise<Child> {
  const child = fork(join(import.meta.dirname, 'spill-child.ts'), [JSON.stringify(task)]);
  const said: string[] = [];
  child.on('message', (message) => void said.push(String(message)));
  await until('the child is ready', () => said.includes('ready'));
  said.length = 0;
  return { process: child, said, publish: (request) => void child.send(request) };
}

async function kill({ process }: Child): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const ended = once(process, 'exit');
  process.kill('SIGKILL');
  await ended;
}

describe('redis: spill of a process that dies', () => {
  async function scene(dieAt?: string) {
    const path = join(folder, `${randomUUID()}.db`);
    const name = `spill-${randomUUID()}`;
    const store = sqliteStore({ path });
    await store.migrate();
    const [proxy] = fleet.proxies;
    const child = await start({ url: proxy!.url, path, topic: name, ...(dieAt === undefined ? {} : { dieAt }) });
    const topic = defineTopic<{ key: string; n: number }>(name, {
      groups: { g: { order: 'key' } },
      key: ({ key }) => key,
    });
    const spilled = async (): Promise<number> => (await store.spill!.state()).rows;
    /** What the next client with that store delivers, once nothing is left in it. */
    const delivered = async (expected: number): Promise<number[]> => {
      const client = await connect({ adapter: redis({ url: fleet.server.url }), spill: store });
      const seen: { n: number; key: string; source: string | undefined }[] = [];
      await client.consume(topic, { group: 'g' }, ({ payload, source }) => void seen.push({ ...payload, source }));
      await until('all was sent', async () => (await spilled()) === 0);
      await until('all was handled', () => new Set(seen.map(({ n }) => n)).size >= expected);
      await client.close();
      await store.close();
      expect(new Set(seen.map(({ source }) => source))).toEqual(new Set(['child']));
      for (const key of new Set(seen.map((each) => each.key))) {
        const order = seen.filter((each) => each.key === key).map(({ n }) => n);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
      return seen.map(({ n }) => n).toSorted((a, b) => a - b);
    };
    return { child, proxy: proxy!, spilled, delivered };
  }

  it('S16: what a process had spilled when it was killed is delivered by the next one', async () => {
    const { child, proxy, spilled, delivered } = await scene();
    child.publish({ from: 0, count: 10 });
    await until('some were confirmed', () => child.said.length === 10);
    proxy.blackHole();
    child.publish({ from: 10, count: 90 });
    await until('the rest was spilled', () => child.said.length === 100);
    expect(child.said).toEqual([...Array(10).fill('confirmed'), ...Array(90).fill('spilled')]);
    await kill(child);
    proxy.heal();
    expect(await spilled()).toBe(90);
    expect(await delivered(100)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  });

  it('S16: killed after the store has committed and before it has answered: nobody was told, and the message is delivered', async () => {
    const { child, proxy, spilled, delivered } = await scene('spill:stored');
    child.publish({ from: 0, count: 1 });
    await until('one was confirmed', () => child.said.length === 1);
    proxy.blackHole();
    const ended = once(child.process, 'exit');
    child.publish({ from: 1, count: 5 });
    await ended;
    proxy.heal();
    expect(child.said).toEqual(['confirmed']);
    expect(await spilled()).toBe(5);
    expect(await delivered(6)).toEqual([0, 1, 2, 3, 4, 5]);
  });
});
