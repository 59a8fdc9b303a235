import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/topic.ts';
import { type DeadlineWatch, deadlineWatch } from '../conformance/deadline-watch.ts';

const topic = defineTopic<string>('watched', { groups: ['g'] });
const timeoutMs = 50;
/** S11 allows a second more. */
const allowedMs = timeoutMs + 1_000;

/** Time in which our own process did nothing. */
let frozenMs: number;
let watched: DeadlineWatch;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
  frozenMs = 0;
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + frozenMs);
  watched = deadlineWatch();
});
afterEach(() => {
  watched.end();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function publish(id: string, publishing: Promise<unknown>): void {
  const client = { publish: () => publishing, publishAll: () => publishing } as unknown as Client;
  void watched.watch(client).publish(topic, id, { id, timeoutMs });
}
const never = new Promise(() => undefined);

it('the traps’ watch finds a publish that has no outcome a second after its deadline, and no other', async () => {
  publish('hangs', never);
  publish('is confirmed', Promise.resolve());
  await vi.advanceTimersByTimeAsync(allowedMs);
  expect(watched.late).toEqual([]);
  await vi.advanceTimersByTimeAsync(10);
  expect(watched.late).toEqual([expect.stringMatching(/^publish of hangs: 105\d ms, with a deadline of 50 ms$/)]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(watched.late).toHaveLength(1);
});

it('the traps’ watch blames no publish for the time that our own process did not get, and for all other time', async () => {
  publish('hangs', never);
  await vi.advanceTimersByTimeAsync(500);
  frozenMs = 1_500;
  await vi.advanceTimersByTimeAsync(500);
  expect(watched.late).toEqual([]);
  await vi.advanceTimersByTimeAsync(100);
  expect(watched.late).toHaveLength(1);
});
