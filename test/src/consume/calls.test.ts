import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCalls } from '../../../src/consume/calls.ts';
import { gate } from '../fake-adapter.ts';

describe('calls', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => vi.useRealTimers());

  it('a call that outlives its deadline fails with handler-timeout, and its signal says so', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const call = calls.begin();
    const hang = gate();
    const outcome = expect(call.invoke(() => hang.opened)).rejects.toMatchObject({ code: 'handler-timeout' });
    await vi.advanceTimersByTimeAsync(999);
    expect(call.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await outcome;
    expect(call.signal.reason).toMatchObject({ code: 'handler-timeout', details: { timeoutMs: 1_000 } });
    hang.open();
    calls.close();
  });

  it('each call has its own deadline, counted from its own start', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const ended: string[] = [];
    const start = (name: string): void =>
      void calls
        .begin()
        .invoke(() => new Promise(() => undefined))
        .catch(() => ended.push(name));
    start('first');
    await vi.advanceTimersByTimeAsync(600);
    start('second');
    await vi.advanceTimersByTimeAsync(400);
    expect(ended).toEqual(['first']);
    await vi.advanceTimersByTimeAsync(599);
    expect(ended).toEqual(['first']);
    await vi.advanceTimersByTimeAsync(1);
    expect(ended).toEqual(['first', 'second']);
    expect(vi.getTimerCount()).toBe(0);
    calls.close();
  });

  it('what a handler throws or rejects with is what the call rejects with', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const thrown = new Error('sync');
    await expect(
      calls.begin().invoke(() => {
        throw thrown;
      }),
    ).rejects.toBe(thrown);
    await expect(calls.begin().invoke(() => Promise.reject('a string'))).rejects.toBe('a string');
    await calls.begin().invoke(() => 'not a promise');
    calls.close();
  });

  it('a signal that is asked for only after the abort is aborted', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const call = calls.begin();
    calls.abortAll(new Error('closing'));
    expect(call.signal.aborted).toBe(true);
    let called = false;
    await expect(
      call.invoke(() => {
        called = true;
      }),
    ).rejects.toThrow('closing');
    expect(called).toBe(false);
    calls.close();
  });

  it('a warning aborts the signal alone; the handler’s own end counts', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const call = calls.begin();
    const work = gate();
    const invoked = call.invoke(() => work.opened);
    call.warn(new Error('lost'));
    expect(call.signal.aborted).toBe(true);
    work.open();
    await invoked;
    calls.close();
  });

  it('an ended call is not aborted any more', async () => {
    const calls = createCalls(1_000, 'group "g"');
    const call = calls.begin();
    await call.invoke(() => undefined);
    const { signal } = call;
    call.end();
    expect(calls.size).toBe(0);
    calls.abortAll(new Error('closing'));
    expect(signal.aborted).toBe(false);
    calls.close();
  });
});
