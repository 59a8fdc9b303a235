import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memory } from '../../../adapters/memory/index.ts';
import { type Client, connect, type DedupeStore, defineTopic, memoryDedupe } from '../../../src/index.ts';
import { turns } from '../turns.ts';

const topic = defineTopic<string>('jobs', { groups: { g: {} } });
const options = { group: 'g', retry: { immediate: { retries: 5, firstMs: 1 }, delays: [] } };
/** Looked at every 100 ms, renewed after 200. */
const CLAIM_MS = 600;

beforeEach(
  () =>
    void vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
    }),
);
afterEach(() => void vi.useRealTimers());

async function pass(ms: number): Promise<void> {
  await turns();
  await vi.advanceTimersByTimeAsync(ms);
  await turns();
}

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
    const closed = client.close({ drainMs: 0 });
    await pass(60_000);
    await closed;
  }
}

describe.each(['returns', 'throws', 'dead-letters'] as const)(
  'a handler whose claim was taken over, and that %s',
  (how) => {
    it.each(['singly', 'in batches'] as const)('is told, and settles nothing of the other’s (%s)', async (way) => {
      const inner = memoryDedupe({ claimMs: CLAIM_MS });
      const store = overtaken(inner);
      const told: unknown[] = [];
      const calls: number[] = [];
      const events: string[] = [];
      await publishing(async (client) => {
        client.on('error', ({ during }) => events.push(during));
        client.on('duplicate', () => events.push('duplicate'));
        const work = async (attempt: number, signal: AbortSignal): Promise<void> => {
          calls.push(attempt);
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
          told.push(signal.reason);
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
        await pass(CLAIM_MS + 5);
        expect(told).toMatchObject([{ code: 'handler-aborted' }]);
        expect(events).toEqual(['renew dedupe claims of group "g"']);
        const [[key, token]] = [...store.taken] as [[string, string]];
        // Neither committed nor released under the old token: it is the other's until it says so.
        expect(await inner.claim(key)).toEqual({ state: 'busy' });
        await inner.commit(key, token);
        await pass(1_000);
        expect(events.slice(1)).toEqual(how === 'returns' ? [] : ['duplicate']);
        expect(await client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0, delayed: 0, dead: 0 });
        expect(calls).toEqual([1]);
      });
    });
  },
);

describe('renewals', () => {
  it('short handlers cost none; long ones share one call, however they began, and it ends with them', async () => {
    const inner = memoryDedupe({ claimMs: CLAIM_MS });
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
      await pass(1_000);
      expect(renewed).toEqual([]);
      // At 0, 40, 80 and 120 ms: the last has hardly begun when the first is due, and comes along the next time.
      for (let n = 0; n < 4; n += 1) {
        await client.publish(topic, 'long');
        await pass(40);
      }
      await pass(440);
      expect(renewed).toEqual([3, 4, 4]);
      gate.resolve();
      await turns();
      expect(await client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0 });
      await pass(10_000);
      expect(renewed).toEqual([3, 4, 4]);
    });
  });

  it('a store that fails to renew is tried again, and the handler goes on', async () => {
    const inner = memoryDedupe({ claimMs: CLAIM_MS });
    const tried: number[] = [];
    const store: DedupeStore = {
      ...inner,
      async renew(held) {
        tried.push(performance.now() - begun);
        if (tried.length <= 2) throw new Error('away');
        return inner.renew!(held);
      },
    };
    let begun = 0;
    await publishing(async (client) => {
      const errors: unknown[] = [];
      client.on('error', (event) => errors.push(event));
      let aborted: boolean | undefined;
      const gate = Promise.withResolvers<void>();
      await client.consume(topic, { ...options, dedupe: store }, async (_, { signal }) => {
        begun = performance.now();
        await gate.promise;
        aborted = signal.aborted;
      });
      await pass(650);
      expect(tried).toEqual([200, 300, 400, 600]);
      gate.resolve();
      await turns();
      expect(await client.backlog(topic, 'g')).toMatchObject({ ready: 0, inFlight: 0, dead: 0 });
      expect(errors).toHaveLength(2);
      expect(aborted).toBe(false);
    });
  });
});
