import { describe, expect, it } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { type Client, connect, type DedupeStore, defineTopic, memoryDedupe } from '../../../src/index.ts';

const topic = defineTopic<string>('jobs', { groups: { g: {} } });
const options = { group: 'g', retry: { immediate: { retries: 5, firstMs: 1 }, delays: [] } };

/** Renews nothing until somebody else has taken every claim over, which `taken` names with its new token. */
function overtaken(inner: DedupeStore): DedupeStore & { readonly taken: Map<string, string> } {
  const taken = new Map<string, string>();
  return {
    ...inner,
    taken,
    async renew(held) {
      for (const { key } of held) {
        let claim = await inner.claim(key);
        while (claim.state === 'busy') {
          await new Promise((resolve) => setTimeout(resolve, 5));
          claim = await inner.claim(key);
        }
        if (claim.state === 'new') taken.set(key, claim.token);
      }
      return inner.renew!(held);
    },
  };
}

async function publishing(run: (client: Client) => Promise<void>): Promise<void> {
  const client = await connect({ adapter: memory() });
  await client.publish(topic, 'a');
  try {
    await run(client);
  } finally {
    await client.close({ drainMs: 0 });
  }
}

describe.each(['returns', 'throws', 'dead-letters'] as const)(
  'a handler whose claim was taken over, and that %s',
  (how) => {
    it.each(['singly', 'in batches'] as const)('is told, and settles nothing of the other’s (%s)', async (way) => {
      const inner = memoryDedupe({ claimMs: 400 });
      const store = overtaken(inner);
      const told = Promise.withResolvers<unknown>();
      const calls: number[] = [];
      const events: string[] = [];
      await publishing(async (client) => {
        client.on('error', ({ during }) => events.push(during));
        client.on('duplicate', () => events.push('duplicate'));
        const work = async (attempt: number, signal: AbortSignal): Promise<void> => {
          calls.push(attempt);
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
          told.resolve(signal.reason);
          if (how !== 'returns') throw new Error('gives up');
        };
        const more = how === 'dead-letters' ? { classify: () => 'dead-letter' as const } : {};
        if (way === 'singly')
          await client.consume(topic, { ...options, ...more, dedupe: store }, ({ attempt }, { signal }) =>
            work(attempt, signal),
          );
        else
          await client.consumeBatches(
            topic,
            { ...options, ...more, dedupe: store, batch: { size: 5 } },
            ([message], { signal }) => work(message!.attempt, signal),
          );
        expect(await told.promise).toMatchObject({ code: 'handler-aborted' });
        await expect.poll(() => events).toContain('renew dedupe claims of group "g"');
        const [[key, token]] = [...store.taken] as [[string, string]];
        // Neither committed nor released under the old token: it is the other's until it says so.
        await new Promise((resolve) => setTimeout(resolve, 50));
        expect(await inner.claim(key)).toEqual({ state: 'busy' });
        await inner.commit(key, token);
        if (how !== 'returns') await expect.poll(() => events, { timeout: 5_000 }).toContain('duplicate');
        await expect
          .poll(() => client.backlog(topic, 'g'))
          .toMatchObject({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
        expect(calls).toEqual([1]);
      });
    });
  },
);

describe('renewals', () => {
  it('short handlers cost none, long ones share one call, and it ends with them', async () => {
    const inner = memoryDedupe({ claimMs: 900 });
    const renewed: number[] = [];
    const store: DedupeStore = {
      ...inner,
      async renew(held) {
        renewed.push(held.length);
        return inner.renew!(held);
      },
    };
    await publishing(async (client) => {
      const gate = Promise.withResolvers<void>();
      await client.consume(topic, { ...options, dedupe: store }, ({ payload }) =>
        payload === 'long' ? gate.promise : undefined,
      );
      await client.publishAll(topic, new Array<string>(200).fill('short'));
      expect(renewed).toEqual([]);
      await client.publishAll(topic, ['long', 'long', 'long']);
      await expect.poll(() => renewed.length, { timeout: 20_000 }).toBeGreaterThan(2);
      expect(Math.max(...renewed)).toBe(3);
      gate.resolve();
      await expect.poll(() => client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0 });
      const before = renewed.length;
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(renewed.length).toBe(before);
    });
  });

  it('a store that fails to renew is tried again, and the handler goes on', async () => {
    const inner = memoryDedupe({ claimMs: 300 });
    let failures = 0;
    const store: DedupeStore = {
      ...inner,
      async renew(held) {
        if (failures++ < 2) throw new Error('away');
        return inner.renew!(held);
      },
    };
    await publishing(async (client) => {
      const errors: unknown[] = [];
      client.on('error', (event) => errors.push(event));
      let aborted = false;
      const gate = Promise.withResolvers<void>();
      await client.consume(topic, { ...options, dedupe: store }, async (_, { signal }) => {
        await gate.promise;
        aborted = signal.aborted;
      });
      await expect.poll(() => failures, { timeout: 5_000 }).toBeGreaterThan(3);
      gate.resolve();
      await expect.poll(() => client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0, dead: 0 });
      expect(errors).toHaveLength(2);
      expect(aborted).toBe(false);
    });
  });
});
