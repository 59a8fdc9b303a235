import { describe, expect, it } from 'vitest';
import { memory, memoryBroker } from '../../../adapters/memory/index.ts';
import {
  type Client,
  type ConsumeOptions,
  connect,
  DeadLetter,
  defineTopic,
  memoryDedupe,
  memoryHalts,
} from '../../../src/index.ts';
import type { BrokerAdapter, HaltStore, Incoming } from '../../../src/port.ts';

interface Job {
  readonly key: string;
  readonly n: number;
}
const topic = defineTopic<Job>('jobs', { key: ({ key }) => key, groups: { g: { order: 'key' } } });
const retry = { immediate: { retries: 1, firstMs: 1 }, delays: [] };

/** A client, and what its handler was called with; `fails` says which calls throw. */
async function world(adapter: BrokerAdapter = memory()) {
  const client = await connect({ adapter });
  const halts = memoryHalts();
  const calls: string[] = [];
  const handled: string[] = [];
  const failing = new Set<string>();
  const work = ({ key, n }: Job): void => {
    calls.push(`${key}${n}`);
    if (failing.has(`${key}${n}`)) throw new Error('not now');
    handled.push(`${key}${n}`);
  };
  const letters = client.deadLetters(topic, 'g');
  return {
    client,
    halts,
    calls,
    handled,
    failing,
    letters,
    work,
    consume: (more: Partial<ConsumeOptions> & { readonly halts?: HaltStore } = {}) =>
      client.consume(topic, { group: 'g', retry, onExhausted: 'halt-key', halts, ...more }, ({ payload }) =>
        work(payload),
      ),
    publish: (key: string, ns: readonly number[], options = {}) =>
      client.publishAll(
        topic,
        ns.map((n) => ({ key, n })),
        ({ n }) => ({ id: `${key}${n}`, ...options }),
      ),
    reasons: async () => {
      const found: Record<string, string> = {};
      for await (const { id, reason } of letters.list()) found[id] = reason;
      return found;
    },
    settled: (dead: number) =>
      expect.poll(() => client.backlog(topic, 'g'), { timeout: 10_000 }).toMatchObject({ ready: 0, inFlight: 0, dead }),
  };
}

async function closing(client: Client, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } finally {
    await client.close({ drainMs: 100 });
  }
}

describe('S27: a key that stands still', () => {
  it('is halted by batches, too, whose other keys go on', async () => {
    const { client, halts, handled, failing, letters, work, publish, reasons, settled } = await world();
    await closing(client, async () => {
      failing.add('a1');
      await publish('a', [0, 1, 2]);
      await publish('b', [0, 1, 2]);
      const options = { group: 'g', retry, onExhausted: 'halt-key', halts, batch: { size: 10 } } as const;
      await client.consumeBatches(topic, options, (messages, { fail }) => {
        for (const message of messages) {
          try {
            work(message.payload);
          } catch (error) {
            fail(message, error);
          }
        }
      });
      await settled(2);
      expect(handled.toSorted()).toEqual(['a0', 'b0', 'b1', 'b2']);
      expect(await reasons()).toEqual({ a1: 'halted', a2: 'halted' });
      failing.clear();
      expect(await letters.release('a', { halts })).toMatchObject({ state: 'free' });
      expect(handled.filter((each) => each.startsWith('a'))).toEqual(['a0', 'a1', 'a2']);
    });
  });

  it('is halted by a DeadLetter, too; all letters are `halted`, and the first keeps its error', async () => {
    const { client, halts, publish, settled } = await world();
    await closing(client, async () => {
      await client.consume(topic, { group: 'g', retry, onExhausted: 'halt-key', halts }, ({ payload }) => {
        if (payload.n === 0) throw new DeadLetter('address unknown');
      });
      await publish('a', [0, 1]);
      await settled(2);
      const found: Record<string, unknown>[] = [];
      const adapterSide = client.deadLetters(topic, 'g');
      for await (const { id, reason, error, attempts } of adapterSide.list())
        found.push({ id, reason, error, attempts });
      expect(found).toEqual([
        { id: 'a0', reason: 'halted', error: expect.stringContaining('address unknown'), attempts: 1 },
        { id: 'a1', reason: 'halted', error: undefined, attempts: 0 },
      ]);
    });
  });

  it('is passed by what has expired, and what expires while it waits holds up nobody', async () => {
    const { client, halts, handled, failing, letters, consume, publish, reasons, settled } = await world();
    await closing(client, async () => {
      failing.add('a0');
      await publish('a', [0]);
      await publish('a', [1], { expiresInMs: 300 });
      await publish('a', [2]);
      await consume();
      await settled(3);
      await new Promise((resolve) => setTimeout(resolve, 400));
      failing.clear();
      expect(await letters.release('a', { halts })).toMatchObject({ state: 'free' });
      expect(handled).toEqual(['a0', 'a2']);
      expect(await reasons()).toEqual({ a1: 'expired' });
    });
  });

  it('what dedupe knows as handled goes through a release, uncalled', async () => {
    const { client, halts, handled, calls, failing, letters, consume, publish, settled } = await world();
    await closing(client, async () => {
      const dedupe = memoryDedupe();
      failing.add('a0');
      await publish('a', [0, 1]);
      await consume({ dedupe });
      await settled(2);
      const claim = await dedupe.claim('g\njobs\nid:default/a0');
      if (claim.state === 'new') await dedupe.commit('g\njobs\nid:default/a0', claim.token);
      expect(await letters.release('a', { halts })).toMatchObject({ state: 'free' });
      expect(handled).toEqual(['a1']);
      expect(calls).toEqual(['a0', 'a0', 'a1']);
    });
  });

  it('an ordinary replay does not overtake: what is not its turn waits again', async () => {
    const { client, halts, handled, failing, letters, consume, publish, settled } = await world();
    await closing(client, async () => {
      failing.add('a0');
      await publish('a', [0, 1, 2]);
      await consume();
      await settled(3);
      failing.clear();
      await letters.replay({ where: { ids: ['a2', 'a1'] } });
      await settled(3);
      expect(handled).toEqual([]);
      expect(await letters.release('a', { halts })).toMatchObject({ state: 'free' });
      expect(handled).toEqual(['a0', 'a1', 'a2']);
    });
  });

  it('a message without an id cannot wait in its place, and is dead as `no-id`', async () => {
    const whole = memory();
    const nameless = (message: Incoming): Incoming => ({ ...message, id: undefined });
    const adapter: BrokerAdapter = {
      ...whole,
      capabilities: { ...whole.capabilities, stablePositions: false },
      subscribe: (subscription, receive) =>
        whole.subscribe(subscription, {
          deliver: (batch) =>
            receive.deliver(batch.map((delivery) => ({ ...delivery, message: nameless(delivery.message) }))),
          revoked: (epoch) => receive.revoked(epoch),
        }),
    };
    const { client, consume, publish, reasons, settled, calls } = await world(adapter);
    await closing(client, async () => {
      await consume();
      await publish('a', [0]);
      await settled(1);
      expect(await reasons()).toEqual({ a0: 'no-id' });
      expect(calls).toEqual([]);
    });
  });
});

describe('S27: who has lost a message', () => {
  it('halts no key for it: what it had noted is taken back, unless the new owner has met the message', async () => {
    for (const met of [false, true]) {
      const whole = memory();
      const halts = memoryHalts();
      const of = { group: 'g', topic: 'jobs', key: 'a' };
      const adapter: BrokerAdapter = {
        ...whole,
        async subscribe(subscription, receive) {
          const source = await whole.subscribe(subscription, receive);
          return {
            ...source,
            async settle(batch) {
              // Its shard has moved, which it has not heard yet.
              if (met) for (const { kind } of batch) if (kind === 'dead') await halts.admit(of, await first(), 'other');
              return batch.map(() => 'stale');
            },
          };
        },
      };
      const first = async (): Promise<string> => (await halts.parked(of, 1))!.messages[0]!;
      const { client, failing, consume, publish } = await world(adapter);
      await closing(client, async () => {
        const lost = Promise.withResolvers<void>();
        client.on('unsettled', () => lost.resolve());
        failing.add('a0');
        await consume({ halts });
        await publish('a', [0]);
        await lost.promise;
        await expect.poll(() => halts.halted(of, ['a'])).toEqual([met]);
      });
    }
  });
});

describe('S27: the store of halted keys', () => {
  it('is asked once for many messages', async () => {
    const { client, halts, handled, consume, publish } = await world();
    await closing(client, async () => {
      let asked = 0;
      const counting: HaltStore = {
        ...halts,
        async halted(of, keys) {
          asked += 1;
          await new Promise((resolve) => setImmediate(resolve));
          return halts.halted(of, keys);
        },
      };
      for (let key = 0; key < 50; key += 1) await publish(`k${key}-`, [0, 1]);
      await consume({ halts: counting, concurrency: 50 });
      await expect.poll(() => handled.length).toBe(100);
      expect(asked).toBeLessThanOrEqual(20);
    });
  });

  it.each(['halted', 'admit', 'halt', 'through'] as const)(
    'that is away at %s is waited for: no call is made twice, and none overtakes',
    async (step) => {
      const { client, halts, handled, calls, failing, letters, consume, publish, settled } = await world();
      await closing(client, async () => {
        let failures = 0;
        const shaky: HaltStore = {
          ...halts,
          [step]: (...args: unknown[]) => {
            failures += 1;
            if (failures % 3 !== 0) throw new Error('away');
            return (halts[step] as (...args: unknown[]) => unknown)(...args);
          },
        };
        const errors: string[] = [];
        client.on('error', ({ during }) => errors.push(during));
        failing.add('a1');
        await publish('a', [0, 1, 2]);
        await consume({ halts: shaky });
        await settled(2);
        failing.clear();
        expect(await letters.release('a', { halts })).toMatchObject({ state: 'free' });
        expect(handled).toEqual(['a0', 'a1', 'a2']);
        expect(calls).toEqual(['a0', 'a1', 'a1', 'a1', 'a2']);
        expect(new Set(errors)).toEqual(new Set(['halted keys of group "g"']));
      });
    },
    20_000,
  );

  it('that is away when the consumer closes loses nothing: the next one goes on', async () => {
    const broker = memoryBroker();
    const one = await world(memory({ broker }));
    const two = await world(memory({ broker }));
    await closing(two.client, async () => {
      let halting = 0;
      const away: HaltStore = {
        ...one.halts,
        async halt() {
          halting += 1;
          throw new Error('away');
        },
      };
      one.failing.add('a0');
      await one.publish('a', [0, 1]);
      await one.consume({ halts: away });
      await expect.poll(() => halting).toBeGreaterThan(0);
      await one.client.close({ drainMs: 0 });
      await two.consume();
      await expect.poll(() => two.handled, { timeout: 10_000 }).toEqual(['a0', 'a1']);
    });
  }, 20_000);
});

describe('S27: release', () => {
  it('says that it waits where nobody consumes, and leaves out what is nowhere only when told to', async () => {
    const { client, halts, handled, failing, letters, consume, publish, settled } = await world();
    await closing(client, async () => {
      failing.add('a0');
      await publish('a', [0, 1, 2]);
      const consumer = await consume();
      await settled(3);
      failing.clear();
      await letters.discard({ where: { ids: ['a0'] } });
      const options = { halts, patienceMs: 100 };
      expect(await letters.release('a', options)).toEqual({ state: 'waiting', handled: 0, left: 3 });
      expect(await letters.halted({ halts })).toMatchObject([{ key: 'a', releasing: true, parked: 3 }]);
      expect(await letters.release('a', { ...options, skipMissing: true })).toMatchObject({ state: 'free' });
      expect(handled).toEqual(['a1', 'a2']);
      await consumer.close();
    });
  });

  it('of a key that is free does nothing; its options are checked', async () => {
    const { client, halts, letters } = await world();
    await closing(client, async () => {
      expect(await letters.release('a', { halts })).toEqual({ state: 'free', handled: 0, left: 0 });
      await expect(letters.release('a', {} as { halts: HaltStore })).rejects.toThrow(/halts/);
      await expect(letters.release('a', { halts: {} as HaltStore })).rejects.toThrow(/halts/);
      await expect(letters.release(7 as unknown as string, { halts })).rejects.toMatchObject({
        code: 'invalid-message',
      });
      await expect(letters.halted({} as { halts: HaltStore })).rejects.toThrow(/halts/);
      const aborted = letters.release('a', { halts, signal: AbortSignal.abort(new Error('no')) });
      await expect(aborted).rejects.toThrow('no');
    });
  });

  it('of a long or strange key finds it by its hash', async () => {
    const { client, halts, handled, failing, letters, consume, publish, settled } = await world();
    await closing(client, async () => {
      const key = 'sha256:not a hash';
      failing.add(`${key}0`);
      await publish(key, [0, 1]);
      await consume();
      await settled(2);
      failing.clear();
      expect((await letters.halted({ halts }))[0]?.key).toMatch(/^sha256:[\w-]{43}$/);
      expect(await letters.release(key, { halts })).toMatchObject({ state: 'free' });
      expect(handled).toEqual([`${key}0`, `${key}1`]);
    });
  });
});
