import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { type DeadlineWatch, deadlineWatch } from '../conformance/deadline-watch.ts';

const topic = defineTopic<string>('watched', { groups: ['g'] });
const timeoutMs = 50;
/** S11 allows a second more. */
const allowedMs = timeoutMs + 1_000;

let now = 0;
let watched: DeadlineWatch;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  watched = deadlineWatch();
});
afterEach(() => {
  watched.end();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function pass(ms: number): void {
  for (let n = 0; n < ms; n += 1) {
    now += 1;
    vi.advanceTimersByTime(1);
  }
}
/** Our own process does nothing for so long: its timers are all late, then. */
function freeze(ms: number): void {
  now += ms;
  vi.advanceTimersByTime(ms);
}

function publish(id: string, publishing: Promise<unknown>): void {
  const client = { publish: () => publishing, publishAll: () => publishing } as unknown as Client;
  void watched.watch(client).publish(topic, id, { id, timeoutMs });
}
const never = new Promise(() => undefined);

it('the traps’ watch finds a publish that has no outcome a second after its deadline, and no other', async () => {
  publish('hangs', never);
  const confirmed = Promise.resolve();
  publish('is confirmed', confirmed);
  await confirmed;
  pass(allowedMs);
  expect(watched.late).toEqual([]);
  pass(1);
  expect(watched.late).toEqual(['publish of hangs: 1051 ms, with a deadline of 50 ms']);
  pass(allowedMs);
  expect(watched.late).toHaveLength(1);
});

it('the traps’ watch blames no publish for the time that our own process did not get, and for all other time', () => {
  publish('hangs', never);
  pass(500);
  freeze(1_500);
  pass(500);
  expect(watched.late).toEqual([]);
  pass(100);
  expect(watched.late).toHaveLength(1);
});
