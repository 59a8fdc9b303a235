import { afterEach, describe, expect, it } from 'vitest';
import { type CanarySeen, DeadLetter, defineTopic } from '../../../src/index.ts';
import type { BrokerAdapter, StoredLetter } from '../../../src/port.ts';
import { fakeInbox } from '../fake-adapter.ts';
import { type Bench, bench, idsOf, until, withStore } from './fixture.ts';

const topic = defineTopic<number>('numbers', { groups: ['g'] });
const open: Bench[] = [];
async function begin(adapter?: BrokerAdapter): Promise<Bench> {
  const made = await bench(topic, adapter);
  open.push(made);
  await made.bury(Array.from({ length: 12 }, (_, n) => n));
  return made;
}
afterEach(async () => {
  for (const { client } of open.splice(0)) await client.close({ drainMs: 0 });
});
const unsorted = () =>
  withStore((honest) => ({
    sorted: false,
    async *scan(options) {
      const found: StoredLetter[] = [];
      for await (const page of honest.scan({ ...options, after: undefined })) found.push(...page);
      yield found.reverse();
    },
  }));

describe('a canary', () => {
  it.each([
    ['sorts', () => undefined],
    ['only scans', unsorted],
  ])('that comes back halts the replay on a broker that %s, and says why', async (_, adapter) => {
    const { letters, handle } = await begin(adapter());
    const messages = await handle(() => {
      throw new DeadLetter('bad again');
    });
    const result = await letters.replay({ canary: { count: 3, watchMs: 60_000 } });
    expect(result).toMatchObject({ replayed: 3 });
    expect(result.startedAt).toBeInstanceOf(Date);
    expect(result.halted?.reason).toMatch(/^[123] of 3 came back as dead letters: bad again$/);
    expect(result.halted?.back.length).toBeGreaterThan(0);
    await until(async () => (await letters.count()) === 12);
    expect(messages).toHaveLength(3);
    expect(await letters.count({ where: { reason: 'bad' } })).toBe(9);
  });

  it('that is handled lets the others go; what the halted run had sent is not sent again', async () => {
    const { letters, handle } = await begin();
    let broken = true;
    const messages = await handle(() => {
      if (broken) throw new DeadLetter('bad again');
    });
    const { startedAt, halted } = await letters.replay({ canary: { count: 2, watchMs: 60_000 } });
    expect(halted).toBeDefined();
    await until(async () => (await letters.count()) === 12);
    broken = false;
    const result = await letters.replay({ startedAt: startedAt!, canary: { count: 2, watchMs: 50 } });
    expect(result).toEqual({ replayed: 10, startedAt });
    await until(() => messages.length === 12);
    expect(await letters.count({ where: { reason: 'bad again' } })).toBe(2);
  });

  it('is decided by a check of yours: on at once, or halted, or watched on', async () => {
    const { letters, handle } = await begin();
    const messages = await handle();
    const seen: CanarySeen[] = [];
    const check = (now: CanarySeen): boolean | undefined => {
      seen.push(now);
      return seen.length < 3 ? undefined : false;
    };
    const stopped = await letters.replay({ canary: { count: 2, watchMs: 60_000, check } });
    expect(stopped.halted).toEqual({ reason: 'the check of the canary said so', back: [] });
    expect(seen.map(({ ids }) => ids)).toEqual(Array.from({ length: 3 }, () => ['m-0', 'm-1']));
    const on = await letters.replay({
      canary: { count: 1, watchMs: 60_000, check: () => messages.length >= 3 || undefined },
    });
    expect(on).toMatchObject({ replayed: 10 });
    await until(() => messages.length === 12);
  });

  it('may come back as far as its check allows, until the watch ends', async () => {
    const { letters, handle } = await begin();
    await handle(({ id }) => {
      if (id === 'm-1') throw new DeadLetter('bad again');
    });
    const tolerant = ({ back, elapsedMs }: CanarySeen) => (back.length > 1 ? false : elapsedMs > 100 || undefined);
    const result = await letters.replay({ canary: { count: 4, watchMs: 60_000, check: tolerant } });
    expect(result.halted).toBeUndefined();
    expect(result.replayed).toBe(12);
  });

  it('is not judged unseen: while somebody else reads the letters it is watched on, and at the end that is an error', async () => {
    let reading = false;
    let asked = 0;
    const busy = Object.assign(new Error('somebody reads'), { adapterCode: 'busy' });
    const adapter = withStore((honest) => ({
      async *scan(options) {
        asked += 1;
        if (reading) throw busy;
        yield* honest.scan(options);
      },
      async replay(letters, marks) {
        reading = true;
        return honest.replay(letters, marks);
      },
    }));
    const { letters, handle } = await begin(adapter);
    await handle();
    const before = asked;
    const canary = {
      count: 2,
      watchMs: 1_000,
      // Asked after each look, so after the last one only if that was taken for a true one.
      check({ elapsedMs }: CanarySeen) {
        if (elapsedMs >= 1_000) reading = false;
        return undefined;
      },
    };
    await expect(letters.replay({ canary })).rejects.toMatchObject({ code: 'busy' });
    expect(asked).toBeGreaterThan(before + 2);
    reading = false;
    expect(await letters.count()).toBe(10);
  });

  it('ends by the signal while it is watched, and the others stay', async () => {
    const { letters, handle } = await begin();
    const messages = await handle();
    const abort = new AbortController();
    const replaying = letters.replay({ canary: { count: 2, watchMs: 60_000 }, signal: abort.signal });
    replaying.catch(() => undefined);
    await until(() => messages.length === 2);
    abort.abort(new Error('enough'));
    await expect(replaying).rejects.toThrow('enough');
    expect(await letters.count()).toBe(10);
  });

  it('is not taken from what the inbox knows: its repeats would prove nothing', async () => {
    const { client, letters } = await begin();
    const inbox = fakeInbox();
    const claims = [0, 1, 2].map((n) => ({ group: 'g', topic: 'numbers', identity: `id:tests/m-${n}` }));
    await inbox.run(claims, new AbortController().signal, async () => undefined);
    const called: string[] = [];
    await client.consume(topic, { group: 'g', inbox }, ({ id }) => {
      called.push(id);
      throw new DeadLetter('bad again');
    });
    const dry = await letters.replay({ dryRun: true, inbox, canary: { count: 2 } });
    expect(dry).toMatchObject({ replayed: 12, alreadyHandled: 3 });
    const result = await letters.replay({ inbox, canary: { count: 2, watchMs: 60_000 } });
    expect(result).toMatchObject({ replayed: 2, alreadyHandled: 0 });
    expect(result.halted).toBeDefined();
    await until(() => called.length === 2);
    expect(called.toSorted()).toEqual(['m-3', 'm-4']);
  });

  it('of a dry run sends nothing and watches nothing', async () => {
    const { letters } = await begin();
    expect(await letters.replay({ dryRun: true, canary: { count: 2 } })).toMatchObject({ replayed: 12 });
    expect(await idsOf(letters.list())).toHaveLength(12);
  });

  it('with nothing to send watches nothing', async () => {
    const { letters } = await begin();
    const result = await letters.replay({ where: { reason: 'no such' }, canary: {} });
    expect(result).toMatchObject({ replayed: 0 });
  });

  it('that is misspelt is refused', async () => {
    const { letters } = await begin();
    await expect(letters.replay({ canary: { cout: 2 } as never })).rejects.toThrow('did you mean "count"');
    await expect(letters.replay({ canary: { count: 0 } })).rejects.toThrow('"count"');
    expect(await letters.count()).toBe(12);
  });
});
