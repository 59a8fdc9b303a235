import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect, defineTopic, isHoldfastError } from '../../../src/index.ts';
import type { BrokerAdapter, Outgoing, PublishOutcome } from '../../../src/port.ts';
import { confirmAll, fakeAdapter, gate, Transient } from '../fake-adapter.ts';

const plain = defineTopic<number>('plain', { groups: ['g'] });
const ordered = defineTopic<{ key: string; n: number }>('ordered', {
  groups: { g: { order: 'key' } },
  key: ({ key }) => key,
});
const lost: PublishOutcome = { kind: 'unknown', error: new Transient('the connection broke') };
const refused: PublishOutcome = { kind: 'rejected', error: new Transient('not now') };
const never: BrokerAdapter['publish'] = () => new Promise(() => undefined);

/** What became of a publish, in a word. */
const outcomeOf = (publishing: Promise<unknown>): Promise<string> =>
  publishing.then(
    () => 'confirmed',
    (error: unknown) => (isHoldfastError(error) ? `${error.code} ${error.outcome}` : String(error)),
  );

describe('publisher', () => {
  beforeEach(() =>
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] }),
  );
  afterEach(() => vi.useRealTimers());
  /** Lets what needs no time happen. */
  const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

  it('publishes of one tick share a batch; while one is on its way others gather; nothing lingers', async () => {
    const batches: number[] = [];
    const first = gate<void>();
    const client = await connect({
      adapter: fakeAdapter({
        capabilities: { flow: { batchMessages: 100, batchBytes: 1e6, window: 1, exclusive: 'key' } },
        async publish(batch) {
          batches.push(batch.length);
          if (batches.length === 2) await first.opened;
          return confirmAll(batch);
        },
      }),
    });
    await client.publish(plain, 0);
    const one = client.publish(plain, 1);
    await settle();
    const rest = client.publishAll(
      plain,
      Array.from({ length: 50 }, (_, n) => n),
    );
    await settle();
    expect(batches).toEqual([1, 1]);
    first.open();
    await Promise.all([one, rest]);
    expect(batches).toEqual([1, 1, 50]);
    await client.close();
  });

  it('S7: an unknown outcome is sent again with the same id, a transient refusal too, and only those', async () => {
    const sent: string[][] = [];
    const answers: PublishOutcome[][] = [
      [{ kind: 'confirmed' }, lost, refused, { kind: 'unroutable' }, { kind: 'rejected', error: new Error('no') }],
      [lost, { kind: 'confirmed' }],
      [{ kind: 'confirmed' }],
    ];
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch) {
          sent.push(batch.map(({ id }) => id));
          return answers.shift()!;
        },
      }),
    });
    const publishes = ['a', 'b', 'c', 'd', 'e'].map((id) => outcomeOf(client.publish(plain, 1, { id })));
    await vi.advanceTimersByTimeAsync(500);
    expect(await Promise.all(publishes)).toEqual([
      'confirmed',
      'confirmed',
      'confirmed',
      'unroutable not-sent',
      'publish-rejected not-sent',
    ]);
    expect(sent).toEqual([['a', 'b', 'c', 'd', 'e'], ['b', 'c'], ['b']]);
    await client.close();
  });

  it('S7: has one outcome for each publish, whatever nonsense the adapter answers', async () => {
    const answers: (() => Promise<readonly PublishOutcome[]>)[] = [
      () => Promise.reject(new Error('it throws')),
      async () => [],
      async () => [{ kind: 'confirmed' }, { kind: 'confirmed' }, { kind: 'confirmed' }],
    ];
    const client = await connect({ adapter: fakeAdapter({ publish: () => answers.shift()!() }) });
    const publishing = outcomeOf(client.publish(plain, 1));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await publishing).toBe('confirmed');
    expect(answers).toEqual([]);
    await client.close();
  });

  it('S11: at its deadline a publish that is on its way is unknown, one that could not be sent is not-sent', async () => {
    const hanging = await connect({ adapter: fakeAdapter({ publish: never }) });
    const refusing = await connect({
      adapter: fakeAdapter({ publish: async (batch) => batch.map(() => refused) }),
      breaker: { minCalls: 1_000 },
    });
    const results: string[] = [];
    for (const client of [hanging, refusing])
      void outcomeOf(client.publish(plain, 1, { timeoutMs: 5_000 })).then((outcome) => results.push(outcome));
    await vi.advanceTimersByTimeAsync(4_999);
    expect(results).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(results.sort()).toEqual(['publish-timeout not-sent', 'publish-unknown unknown']);
    const closing = Promise.all([hanging.close({ drainMs: 0 }), refusing.close({ drainMs: 0 })]);
    await vi.advanceTimersByTimeAsync(1);
    await closing;
  });

  it('S11: a short deadline is kept though a longer one was there before', async () => {
    const client = await connect({ adapter: fakeAdapter({ publish: never }) });
    const results: string[] = [];
    for (const timeoutMs of [60_000, 100, 30_000]) {
      void outcomeOf(client.publish(plain, 1, { timeoutMs })).then(() => results.push(String(timeoutMs)));
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(results).toEqual(['100']);
    await vi.advanceTimersByTimeAsync(59_900);
    expect(results).toEqual(['100', '30000', '60000']);
    await client.close({ drainMs: 0 });
  });

  it('S11: a batch has the time of whoever in it has most', async () => {
    const deadlines: number[] = [];
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch, { deadline }) {
          deadlines.push(deadline - Date.now());
          return confirmAll(batch);
        },
      }),
    });
    await Promise.all([2_000, 60_000, 1_000].map((timeoutMs) => client.publish(plain, 1, { timeoutMs })));
    expect(deadlines).toEqual([60_000]);
    await client.close();
  });

  it('a message whose deadline has passed is not sent again', async () => {
    const sent: string[] = [];
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch) {
          sent.push(...batch.map(({ id }) => id));
          return batch.map(({ id }) => (id === 'patient' && sent.length > 6 ? { kind: 'confirmed' } : refused));
        },
      }),
      breaker: { minCalls: 1_000 },
    });
    const impatient = outcomeOf(client.publish(plain, 1, { id: 'impatient', timeoutMs: 30 }));
    const patient = outcomeOf(client.publish(plain, 1, { id: 'patient' }));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await Promise.all([impatient, patient])).toEqual(['publish-timeout not-sent', 'confirmed']);
    expect(sent.lastIndexOf('impatient')).toBeLessThan(sent.length - 3);
    await client.close();
  });

  it('G10: an open circuit rejects at once as not-sent, and lets one call through to see whether to close', async () => {
    let healthy = false;
    let calls = 0;
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch) {
          calls += 1;
          return healthy ? confirmAll(batch) : batch.map(() => lost);
        },
      }),
      breaker: { minCalls: 3, resetMs: 1_000 },
    });
    const states: string[] = [];
    client.on('breaker', ({ state }) => states.push(state));
    const first = outcomeOf(client.publish(plain, 1, { timeoutMs: 400 }));
    await vi.advanceTimersByTimeAsync(400);
    expect(await first).toBe('publish-unknown unknown');
    expect(states).toEqual(['open']);
    const callsWhenOpen = calls;
    expect(await outcomeOf(client.publish(plain, 1))).toBe('circuit-open not-sent');
    expect(calls).toBe(callsWhenOpen);
    expect((await client.health()).ready).toBe(false);
    healthy = true;
    await vi.advanceTimersByTimeAsync(1_000);
    const probe = outcomeOf(client.publish(plain, 1));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await probe).toBe('confirmed');
    expect(states.at(-1)).toBe('closed');
    await client.close();
  });

  it('S8: what the broker refuses for good opens no circuit, and one topic’s circuit is not another’s', async () => {
    const other = defineTopic<number>('other', { groups: ['g'] });
    const client = await connect({
      adapter: fakeAdapter({
        publish: async (batch) =>
          batch.map(
            ({ topology }): PublishOutcome =>
              topology.topic === 'plain' ? { kind: 'rejected', error: new Error('too odd') } : lost,
          ),
      }),
      breaker: { minCalls: 2 },
    });
    for (let n = 0; n < 10; n += 1) expect(await outcomeOf(client.publish(plain, n))).toBe('publish-rejected not-sent');
    const failing = outcomeOf(client.publish(other, 1, { timeoutMs: 300 }));
    await vi.advanceTimersByTimeAsync(300);
    await failing;
    expect(await outcomeOf(client.publish(other, 1))).toBe('circuit-open not-sent');
    expect(await outcomeOf(client.publish(plain, 1))).toBe('publish-rejected not-sent');
    await client.close();
  });

  it('S8: what is sent again without the connection being to blame opens no circuit', async () => {
    let calls = 0;
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch) {
          calls += 1;
          return calls > 10 ? confirmAll(batch) : batch.map(() => ({ kind: 'unknown', error: new Error('a nack') }));
        },
      }),
      breaker: { minCalls: 2 },
    });
    const states: string[] = [];
    client.on('breaker', ({ state }) => states.push(state));
    const publishing = outcomeOf(client.publish(plain, 1));
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await publishing).toBe('confirmed');
    expect(states).toEqual([]);
    await client.close();
  });

  it('S9: of a key one message is in flight at a time, retries included; other keys go on', async () => {
    const log: string[] = [];
    const flying = new Set<string>();
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch: readonly Outgoing[]) {
          for (const { key } of batch) {
            expect(flying.has(key!)).toBe(false);
            flying.add(key!);
          }
          await new Promise((resolve) => setTimeout(resolve, 5));
          for (const { key } of batch) flying.delete(key!);
          return batch.map(({ id }): PublishOutcome => {
            const again = log.includes(`${id} nack`);
            log.push(`${id} ${again || id !== 'a0' ? 'ack' : 'nack'}`);
            return again || id !== 'a0' ? { kind: 'confirmed' } : lost;
          });
        },
      }),
    });
    const payloads = [0, 1, 2].flatMap((n) => ['a', 'b'].map((key) => ({ key, n })));
    const publishing = client.publishAll(ordered, payloads, ({ key, n }) => ({ id: `${key}${n}` }));
    await vi.advanceTimersByTimeAsync(5_000);
    expect((await publishing).every(({ ok }) => ok)).toBe(true);
    expect(log.filter((line) => line.startsWith('a'))).toEqual(['a0 nack', 'a0 ack', 'a1 ack', 'a2 ack']);
    expect(log.filter((line) => line.startsWith('b'))).toEqual(['b0 ack', 'b1 ack', 'b2 ack']);
    await client.close();
  });

  it('S9: a message that fails for good lets its successors go', async () => {
    const client = await connect({
      adapter: fakeAdapter({
        publish: async (batch) =>
          batch.map(
            ({ id }): PublishOutcome =>
              id === 'a0' ? { kind: 'rejected', error: new Error('no') } : { kind: 'confirmed' },
          ),
      }),
    });
    const publishes = [0, 1].map((n) => outcomeOf(client.publish(ordered, { key: 'a', n }, { id: `a${n}` })));
    await settle();
    expect(await Promise.all(publishes)).toEqual(['publish-rejected not-sent', 'confirmed']);
    await client.close();
  });

  it('an abort is not-sent while it waits, unknown once it is on its way, and frees its room either way', async () => {
    const sent: string[] = [];
    const client = await connect({
      adapter: fakeAdapter({
        capabilities: { flow: { batchMessages: 1, batchBytes: 1e6, window: 1, exclusive: 'key' } },
        async publish(batch) {
          sent.push(batch[0]!.id);
          return batch[0]!.id === 'first' ? confirmAll(batch) : new Promise(() => undefined);
        },
      }),
      buffer: { messages: 2 },
    });
    await client.publish(plain, 0, { id: 'first' });
    const abort = new AbortController();
    const publishes = ['flying', 'queued', 'without room'].map((id) =>
      outcomeOf(client.publish(plain, 1, { id, signal: abort.signal })),
    );
    await settle();
    abort.abort();
    expect(await Promise.all(publishes)).toEqual([
      'publish-aborted unknown',
      'publish-aborted not-sent',
      'publish-aborted not-sent',
    ]);
    expect(sent).toEqual(['first', 'flying']);
    const closing = client.close({ drainMs: 10 });
    await vi.advanceTimersByTimeAsync(10);
    await closing;
  });

  it('what finds no room waits for it, in order, and to its deadline', async () => {
    const open = gate<void>();
    const sent: string[] = [];
    const client = await connect({
      adapter: fakeAdapter({
        async publish(batch) {
          await open.opened;
          sent.push(...batch.map(({ id }) => id));
          return confirmAll(batch);
        },
      }),
      buffer: { messages: 1 },
    });
    const publishes = ['a', 'b', 'c'].map((id) =>
      outcomeOf(client.publish(plain, 1, { id, timeoutMs: id === 'b' ? 50 : 60_000 })),
    );
    await vi.advanceTimersByTimeAsync(50);
    expect(await publishes[1]).toBe('publish-timeout not-sent');
    open.open();
    await settle();
    expect(await Promise.all(publishes)).toEqual(['confirmed', 'publish-timeout not-sent', 'confirmed']);
    expect(sent).toEqual(['a', 'c']);
    await client.close();
  });

  it('G9: close waits for confirms; what has none when the time is up is answered and counted', async () => {
    const slow = gate<void>();
    const client = await connect({
      adapter: fakeAdapter({
        capabilities: { flow: { batchMessages: 1, batchBytes: 1e6, window: 1, exclusive: 'key' } },
        async publish(batch) {
          if (batch[0]!.id !== 'first') await slow.opened;
          return confirmAll(batch);
        },
      }),
    });
    await client.publish(plain, 0, { id: 'first' });
    const publishes = ['flying', 'queued'].map((id) => outcomeOf(client.publish(plain, 1, { id })));
    await settle();
    const closing = client.close({ drainMs: 100 });
    await vi.advanceTimersByTimeAsync(100);
    expect(await closing).toEqual({ completed: 0, givenBack: 0, unknown: 1 });
    expect(await Promise.all(publishes)).toEqual(['publish-unknown unknown', 'publish-timeout not-sent']);
    expect(vi.getTimerCount()).toBe(0);
  });
});
