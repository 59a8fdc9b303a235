/** The memory broker as one process reaches it through bad weather. */

import type { MemoryAdapter } from '../../adapters/memory/index.ts';
import type { BrokerAdapter, Capabilities, Outgoing, PublishOutcome, SettleOutcome, Source } from '../../src/port.ts';
import type { Random } from './random.ts';
import { type Life, never, type Sabotage, sleep, type Weather } from './weather.ts';

export class Unreachable extends Error {}

type Fate = 'stored' | 'lost' | 'unconfirmed' | 'refused' | 'twice';

export interface FlakySetup {
  readonly memory: MemoryAdapter;
  readonly random: Random;
  readonly weather: Weather;
  readonly life: Life;
  readonly flow: Capabilities['flow'];
  /** How often the broker has stored each message. */
  readonly copies: Map<string, number>;
  readonly onLost: () => void;
  readonly sabotage: Sabotage | undefined;
}

export function flakyBroker({
  memory,
  random,
  weather,
  life,
  flow,
  copies,
  onLost,
  sabotage,
}: FlakySetup): BrokerAdapter {
  const lag = async (): Promise<void> => {
    await sleep(random.next() * weather.latencyMs);
    if (!life.alive) await never;
  };
  const reach = async (): Promise<void> => {
    await lag();
    if (weather.brokerAway) throw new Unreachable('the broker is away');
  };

  function fate(): Fate {
    if (random.chance(weather.publishLost)) return 'lost';
    if (random.chance(weather.publishUnconfirmed)) return 'unconfirmed';
    if (random.chance(weather.publishRefused)) return 'refused';
    return random.chance(weather.publishTwice) ? 'twice' : 'stored';
  }

  /** What shares a fate: on brokers that write a partition's batch as a whole, that batch. */
  function unitOf(message: Outgoing, index: number): string {
    const keyed = flow.exclusive === 'partition' && message.partition !== undefined;
    return keyed ? `${message.topology.topic}/${message.partition}/${message.lane}` : String(index);
  }

  async function publish(batch: readonly Outgoing[], deadline: number): Promise<readonly PublishOutcome[]> {
    const fates = new Map<string, Fate>();
    const fateOf = (message: Outgoing, index: number): Fate => {
      const unit = unitOf(message, index);
      if (!fates.has(unit)) fates.set(unit, fate());
      return fates.get(unit)!;
    };
    await lag();
    if (weather.brokerAway && sabotage === 'confirms-what-is-lost') return batch.map(() => ({ kind: 'confirmed' }));
    if (weather.brokerAway) return batch.map(() => failed(random.chance(0.5) ? 'rejected' : 'unknown'));
    const hangs = random.chance(weather.publishHangs);
    const outcomes: PublishOutcome[] = [];
    for (const [index, message] of batch.entries()) {
      const drawn = fateOf(message, index);
      const times = drawn === 'twice' ? 2 : drawn === 'lost' || drawn === 'refused' ? 0 : 1;
      copies.set(message.id, (copies.get(message.id) ?? 0) + times);
      const [stored] = await memory.publish(Array(times).fill(message), {
        deadline,
        signal: new AbortController().signal,
      });
      if (sabotage === 'delivers-what-it-refuses' && random.chance(0.1))
        outcomes.push({ kind: 'rejected', error: new Error('refused for good') });
      else if (drawn === 'refused') outcomes.push(failed('rejected'));
      else outcomes.push(stored === undefined || drawn === 'unconfirmed' || hangs ? failed('unknown') : stored);
    }
    if (hangs) await sleep(Math.max(0, deadline - Date.now()));
    await lag();
    return outcomes;
  }

  function flaky(source: Source): Source {
    const settle = async (apply: () => Promise<readonly SettleOutcome[]>, size: number) => {
      await lag();
      const unknown = Array<SettleOutcome>(size).fill('unknown');
      if (weather.brokerAway || random.chance(weather.settleLost)) {
        onLost();
        memory.disconnect();
        return unknown;
      }
      const outcomes = await apply();
      const lost = random.chance(weather.settleUnconfirmed);
      await lag();
      return lost ? unknown : outcomes;
    };
    return {
      settle: (batch) => settle(() => source.settle(batch), batch.length),
      mark: async (delivery, marks) =>
        (await settle(async () => [await source.mark!(delivery, marks)], 1))[0] ?? 'unknown',
      extend: (deliveries) => source.extend(deliveries),
      pause: (lane) => life.alive && source.pause(lane),
      resume: (lane) => life.alive && source.resume(lane),
      stop: () => (life.alive ? source.stop() : never),
    };
  }

  return {
    ...memory,
    name: 'simulated',
    capabilities: { ...memory.capabilities, flow },
    async connect(hooks) {
      await reach();
      return memory.connect(hooks);
    },
    async declare(topology) {
      await reach();
      return memory.declare(topology);
    },
    publish: (batch, { deadline }) => publish(batch, deadline),
    async subscribe(subscription, receive) {
      await reach();
      const source = await memory.subscribe(subscription, {
        revoked: (epoch) => receive.revoked(epoch),
        deliver(batch) {
          if (sabotage === 'acknowledges-at-delivery')
            void source.settle(batch.map((delivery) => ({ kind: 'done', delivery })));
          receive.deliver(sabotage === 'shuffles' ? batch.toReversed() : batch);
        },
      });
      return flaky(source);
    },
    isTransient: (error) => error instanceof Unreachable,
    close: () => (life.alive ? memory.close() : never),
  };
}

const failed = (kind: 'rejected' | 'unknown'): PublishOutcome => ({
  kind,
  error: new Unreachable(kind === 'rejected' ? 'the broker refused it for now' : 'the connection broke'),
});
