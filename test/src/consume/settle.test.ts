import { describe, expect, it } from 'vitest';
import { createSettler } from '../../../src/consume/settle.ts';
import { createEmitter } from '../../../src/events.ts';
import type { Delivery, Settlement, SettleOutcome } from '../../../src/port.ts';
import { fakeSource, gate } from '../fake-adapter.ts';

const done = (): Settlement => ({ kind: 'done', delivery: {} as Delivery });
const dead = (): Settlement => ({ kind: 'dead', delivery: {} as Delivery, marks: {} });
const names = { topic: 't', group: 'g' };

describe('settler', () => {
  it('what ends together settles together, and what ends meanwhile goes with the next', async () => {
    const batches: number[] = [];
    const first = gate<readonly SettleOutcome[]>();
    const source = fakeSource({
      settle(batch) {
        batches.push(batch.length);
        return batches.length === 1 ? first.opened : Promise.resolve(batch.map(() => 'settled'));
      },
    });
    const settler = createSettler(Promise.resolve(source), createEmitter(), names);
    const early = [settler.settle(done()), settler.settle(done()), settler.settle(done())];
    await new Promise((resolve) => setTimeout(resolve, 5));
    const late = Array.from({ length: 7 }, () => settler.settle(done()));
    first.open(['settled', 'stale', 'settled']);
    expect(await Promise.all(early)).toEqual(['settled', 'stale', 'settled']);
    await Promise.all(late);
    expect(batches).toEqual([3, 7]);
  });

  it('a slow move holds up no acknowledgement', async () => {
    const slow = gate<readonly SettleOutcome[]>();
    const source = fakeSource({
      settle: (batch) => (batch[0]!.kind === 'dead' ? slow.opened : Promise.resolve(batch.map(() => 'settled'))),
    });
    const settler = createSettler(Promise.resolve(source), createEmitter(), names);
    const moving = settler.settle(dead());
    expect(await settler.settle(done())).toBe('settled');
    slow.open(['settled']);
    expect(await moving).toBe('settled');
  });

  it('never rejects: a source that throws leaves it unknown, with events that say so', async () => {
    const emitter = createEmitter();
    const events: unknown[] = [];
    emitter.on('error', ({ during }) => events.push(during));
    emitter.on('unsettled', (event) => events.push(event));
    const settler = createSettler(
      Promise.resolve(fakeSource({ settle: () => Promise.reject(new Error('gone')) })),
      emitter,
      names,
    );
    expect(await Promise.all([settler.settle(done()), settler.settle(done())])).toEqual(['unknown', 'unknown']);
    expect(events).toEqual(['settle', { ...names, stale: 0, unknown: 2 }]);
  });

  it('idle waits until nothing is under way', async () => {
    const slow = gate<readonly SettleOutcome[]>();
    const settler = createSettler(Promise.resolve(fakeSource({ settle: () => slow.opened })), createEmitter(), names);
    let idle = false;
    void settler.settle(done());
    const waiting = settler.idle().then(() => {
      idle = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(idle).toBe(false);
    slow.open(['settled']);
    await waiting;
  });
});
