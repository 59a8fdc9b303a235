import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError, type PublishFailure } from '../../src/errors.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import type { Topic } from '../../src/topic.ts';
import { until } from '../conformance/until.ts';
import type { FaultProxy } from '../fleet/proxy.ts';
import { connect } from './traps-connect.ts';
import type { TrapFleet } from './traps-fleet.ts';

export interface PublishTraps {
  readonly fleet: TrapFleet;
  /** As users have it. */
  readonly usual: (url: string) => BrokerAdapter;
  /** Notices silence within about a second. */
  readonly alert: (url: string) => BrokerAdapter;
  /** Whether a resend of the same id is stored once. */
  readonly storedOnce: boolean;
}

type Apply = (proxy: FaultProxy) => void;

const losing: Readonly<Record<string, Apply>> = {
  'cut by FIN': (proxy) => proxy.cut(),
  'reset by RST': (proxy) => proxy.reset(),
  'half-open, requests lost': (proxy) => proxy.halfOpen('up'),
  'half-open, replies lost': (proxy) => proxy.halfOpen('down'),
  'half-open, both lost': (proxy) => proxy.halfOpen('both'),
  'a black hole': (proxy) => proxy.blackHole(),
  'closed in the middle of each answer': (proxy) => proxy.breakOff(),
  'every confirm lost': (proxy) => proxy.swallow((sent) => sent.includes('payload of')),
};
const slowing: Readonly<Record<string, Apply>> = {
  'one byte at a time': (proxy) => proxy.slice(1),
  '500 ms more per round trip': (proxy) => proxy.delay(200, 100),
  '10 KB/s': (proxy) => proxy.throttle(10_000),
};

type Outcome = 'confirmed' | PublishFailure | 'hung' | `not ours: ${string}`;

/** What becomes of publishes under each fault of the network (S11, G2), through the public client, on a real broker. */
export function publishTraps({ fleet, usual, alert, storedOnce }: PublishTraps): void {
  describe.concurrent(`${fleet.kind}: publishing over a network that fails`, () => {
    for (const [name, apply] of Object.entries(losing)) {
      it(`${name}: every publish ends by its deadline, none that was confirmed is lost, recovers by itself`, async ({
        expect,
      }) => {
        const timeoutMs = 3_000;
        await using scene = await open(alert);
        const outcomes = await scene.publishAround(apply, timeoutMs, 40);
        expect([...outcomes.values()].filter((each) => !known.includes(each))).toEqual([]);
        scene.proxy.heal();
        const last = await scene.recovered(5_000);
        await until('health is green', async () => (await scene.client.health()).ready);
        const seen = await scene.readBack([...idsOf(outcomes, 'confirmed'), last]);
        expect(idsOf(outcomes, 'not-sent').filter((id) => seen.has(id))).toEqual([]);
      });
    }

    for (const [name, apply] of Object.entries(slowing)) {
      it(`${name}: costs time and no message`, async ({ expect }) => {
        await using scene = await open(usual);
        const outcomes = await scene.publishAround(apply, 20_000, 10);
        expect(idsOf(outcomes, 'confirmed')).toHaveLength(outcomes.size);
        scene.proxy.heal();
        await scene.readBack(idsOf(outcomes, 'confirmed'));
      });
    }

    it(`Trap 21: a confirm is lost: the message is sent again with its id${storedOnce ? ', and stored once' : ''}`, async ({
      expect,
    }) => {
      await using scene = await open(alert);
      const before = scene.proxy.connections().swallowed;
      let sends = 0;
      scene.proxy.swallow((sent) => {
        if (!sent.includes('the lost confirm')) return false;
        sends += 1;
        return sends === 1;
      });
      const receipt = await scene.client.publish(scene.topic, 'the lost confirm', { id: 'lost', timeoutMs: 20_000 });
      expect(receipt).toMatchObject({ id: 'lost', outcome: 'confirmed' });
      expect(scene.proxy.connections().swallowed - before).toBe(1);
      expect(sends).toBeGreaterThan(1);
      const seen = await scene.readBack(['lost', await scene.recovered(5_000)]);
      if (storedOnce) expect(seen.get('lost')).toBe(1);
    });

    async function open(adapter: (url: string) => BrokerAdapter): Promise<Scene> {
      const proxy = fleet.takeProxy();
      const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
      const client = await connect({ adapter: adapter(proxy.url) });
      return sceneOf(client, topic, proxy, fleet, usual);
    }
  });
}

const known: readonly Outcome[] = ['confirmed', 'not-sent', 'unknown'];

const idsOf = (outcomes: ReadonlyMap<string, Outcome>, wanted: Outcome): string[] =>
  [...outcomes].filter(([, outcome]) => outcome === wanted).map(([id]) => id);

interface Scene extends AsyncDisposable {
  readonly client: Client;
  readonly topic: Topic<string>;
  readonly proxy: FaultProxy;
  /** Publishes `count` before and `count` after the fault begins, which is in the middle of the first; by id. */
  publishAround(apply: Apply, timeoutMs: number, count: number): Promise<ReadonlyMap<string, Outcome>>;
  /** Waits until a publish over the same client is confirmed; its id. */
  recovered(withinMs: number): Promise<string>;
  /** Reads by a client past the proxy until these have come and nothing waits; how often each id has come. */
  readBack(ids: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

function sceneOf(
  client: Client,
  topic: Topic<string>,
  proxy: FaultProxy,
  fleet: TrapFleet,
  usual: PublishTraps['usual'],
): Scene {
  return {
    client,
    topic,
    proxy,
    async publishAround(apply, timeoutMs, count) {
      await client.publish(topic, 'payload of a calm sea');
      const outcomes = new Map<string, Outcome>();
      const one = async (id: string) => void outcomes.set(id, await outcomeOf(client, topic, id, timeoutMs));
      const before = Array.from({ length: count }, (_, n) => one(`before-${n}`));
      // They have left the client, and most are neither on the broker nor confirmed.
      await new Promise(setImmediate);
      apply(proxy);
      const after = Array.from({ length: count }, (_, n) => one(`after-${n}`));
      await Promise.all([...before, ...after]);
      return outcomes;
    },
    async recovered(withinMs) {
      let tries = 0;
      const id = () => `recovered-${tries}`;
      await until(
        'a publish is confirmed again',
        async () => {
          tries += 1;
          return (await outcomeOf(client, topic, id(), withinMs)) === 'confirmed';
        },
        withinMs,
      );
      return id();
    },
    async readBack(ids) {
      const seen = new Map<string, number>();
      await using reader = await connect({ adapter: usual(fleet.server().url) });
      await reader.consume(topic, { group: 'g' }, ({ id }) => void seen.set(id, (seen.get(id) ?? 0) + 1));
      const missing = () => ids.filter((id) => !seen.has(id));
      await until(`all ${ids.length} confirmed are read`, () => missing().length === 0).catch((error: Error) => {
        throw new Error(`${error.message}; missing: ${missing().slice(0, 5).join(', ')} (${missing().length} in all)`);
      });
      await until('nothing waits', async () => (await reader.backlog(topic, 'g')).ready === 0);
      return seen;
    },
    async [Symbol.asyncDispose]() {
      proxy.heal();
      await client.close({ drainMs: 0 });
      fleet.giveBack(proxy);
    },
  };
}

async function outcomeOf(client: Client, topic: Topic<string>, id: string, timeoutMs: number): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<Outcome>((resolve) => {
    // Later than its deadline is found out by traps-connect.ts.
    timer = setTimeout(resolve, timeoutMs + 10_000, 'hung');
  });
  const settled = client.publish(topic, `payload of ${id}`, { id, timeoutMs }).then(
    (): Outcome => 'confirmed',
    (error: unknown): Outcome => (isHoldfastError(error) && error.outcome) || `not ours: ${String(error)}`,
  );
  return await Promise.race([settled, hung]).finally(() => clearTimeout(timer));
}
