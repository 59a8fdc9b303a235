import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/define-topic.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import type { Topic } from '../../src/topic.ts';
import { until } from '../conformance/until.ts';
import type { FaultProxy } from '../fleet/proxy.ts';
import { connect } from './traps-connect.ts';
import type { TrapFleet } from './traps-fleet.ts';

export interface ConsumeTraps {
  readonly fleet: TrapFleet;
  readonly usual: (url: string) => BrokerAdapter;
  /** Notices silence within about a second. */
  readonly alert: (url: string) => BrokerAdapter;
}

/** `mends`: whether it goes away only by `heal`. Connections that were half-open stay so, whatever happens. */
const faults: Readonly<Record<string, { apply: (proxy: FaultProxy) => void; mends?: true }>> = {
  'cut by FIN': { apply: (proxy) => proxy.cut() },
  'reset by RST': { apply: (proxy) => proxy.reset() },
  'half-open, requests lost': { apply: (proxy) => proxy.halfOpen('up') },
  'half-open, replies lost': { apply: (proxy) => proxy.halfOpen('down') },
  'half-open, both lost': { apply: (proxy) => proxy.halfOpen('both') },
  'a black hole': { apply: (proxy) => proxy.blackHole(), mends: true },
};

/** What becomes of a consumer under each fault of the network, through the public client, on a real broker. */
export function consumeTraps({ fleet, usual, alert }: ConsumeTraps): void {
  describe.concurrent(`${fleet.kind}: consuming over a network that fails`, () => {
    for (const [name, { apply, mends }] of Object.entries(faults)) {
      it(`Trap 28: ${name} while it waits for messages: noticed, and the next message is handled`, async () => {
        await using scene = await open();
        const { topic, proxy, publisher, handled } = scene;
        await publisher.publish(topic, 'first', { id: 'first' });
        await until('the first is handled', () => handled.has('first'));
        await until('nothing is under way', async () => (await publisher.backlog(topic, 'g')).ready === 0);
        apply(proxy);
        await publisher.publish(topic, 'second', { id: 'second' });
        if (mends) proxy.heal();
        await until('the second is handled', () => handled.has('second'), 20_000);
      });

      it(`${name} while it handles: everything is handled, and nothing left behind`, async ({ expect }) => {
        await using scene = await open();
        const { topic, proxy, publisher, handled } = scene;
        const ids = Array.from({ length: 200 }, (_, n) => `m-${n}`);
        const publish = (some: readonly string[]) =>
          Promise.all(some.map((id) => publisher.publish(topic, `payload of ${id}`, { id })));
        await publish(ids.slice(0, 100));
        await until('some are handled', () => handled.size > 20);
        apply(proxy);
        await publish(ids.slice(100));
        if (mends) proxy.heal();
        await until(`all are handled`, () => handled.size === ids.length, 30_000);
        await until('all are settled', async () => {
          const { ready = 0, inFlight = 0 } = await publisher.backlog(topic, 'g');
          return ready + inFlight === 0;
        });
        expect((await publisher.backlog(topic, 'g')).dead).toBe(0);
      });
    }

    async function open(): Promise<Scene> {
      const proxy = fleet.takeProxy();
      const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
      const publisher = await connect({ adapter: usual(fleet.server().url) });
      const consumer = await connect({ adapter: alert(proxy.url) });
      const handled = new Set<string>();
      await consumer.consume(topic, { group: 'g', leaseMs: 1_500, prefetch: 5 }, async ({ id }) => {
        await new Promise(setImmediate);
        handled.add(id);
      });
      return {
        topic,
        proxy,
        publisher,
        handled,
        async [Symbol.asyncDispose]() {
          await Promise.all([publisher.close(), consumer.close({ drainMs: 1_000 })]);
          proxy.heal();
          fleet.giveBack(proxy);
        },
      };
    }
  });
}

interface Scene extends AsyncDisposable {
  readonly topic: Topic<string>;
  /** Before the consumer only. */
  readonly proxy: FaultProxy;
  readonly publisher: Client;
  readonly handled: ReadonlySet<string>;
}
