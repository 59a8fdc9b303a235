import { expect, it } from 'vitest';
import { defineTopic } from '../../../src/index.ts';
import { createSpillWriter } from '../../../src/outbox/spill-writer.ts';
import type { SpillState } from '../../../src/port.ts';
import type { Pending } from '../../../src/publish/queue.ts';
import { gate } from '../fake-adapter.ts';

const topic = defineTopic<number>('numbers');
/** One that counts for 100 bytes. */
const pendingOf = (id: string): Pending =>
  ({ topic, bytes: 100, outgoing: { id, headers: {}, topology: { topic: 'numbers' } } }) as unknown as Pending;

/** A writer that may hold 250 bytes, and a store whose writes end as `next` says. */
function writing() {
  const log: string[] = [];
  const scene = { log, bytes: 0, next: async (): Promise<void> => undefined };
  const names = (batch: readonly Pending[]): string => batch.map(({ outgoing }) => outgoing.id).join(' ');
  const writer = createSpillWriter({
    store: {
      async add(entries) {
        await scene.next();
        return entries.map(({ id }) => `row ${id}`);
      },
      left: async () => [],
      state: async (): Promise<SpillState> => ({ rows: 0, bytes: scene.bytes, oldestAgeMs: undefined }),
    },
    maxBytes: 250,
    heldBytes: 0,
    crashPoint: undefined,
    stored: (batch) => log.push(`stored ${names(batch)}`),
    failed: (batch) => log.push(`failed ${names(batch)}`),
    passed: (pending) => log.push(`passed ${names([pending])}`),
  });
  return Object.assign(scene, { writer });
}

it('S16: what may be stored counts until the store is measured; what surely is not, leaves its room at once', async () => {
  const scene = writing();
  const { writer, log } = scene;
  scene.next = () => Promise.reject(new Error('disk full'));
  expect([writer.add(pendingOf('a')), writer.add(pendingOf('b'))]).toEqual([true, true]);
  await expect.poll(() => log).toEqual(['failed a b']);
  scene.next = () => Promise.reject(Object.assign(new Error('the reply to COMMIT was lost'), { outcome: 'unknown' }));
  expect([writer.add(pendingOf('c')), writer.add(pendingOf('d'))]).toEqual([true, true]);
  await expect.poll(() => log).toEqual(['failed a b', 'failed c d']);
  expect(writer.add(pendingOf('e'))).toBe(false);
  await writer.measure();
  expect(writer.add(pendingOf('f'))).toBe(true);
});

it('S16: what is answered before its turn is not stored, and leaves its room', async () => {
  const scene = writing();
  const { writer, log } = scene;
  const first = gate();
  scene.next = () => first.opened;
  const late = pendingOf('b');
  expect(writer.add(pendingOf('a'))).toBe(true);
  await Promise.resolve();
  await Promise.resolve();
  expect([writer.add(late), writer.add(pendingOf('c'))]).toEqual([true, false]);
  late.answered = true;
  scene.bytes = 100;
  first.open();
  await expect.poll(() => log).toEqual(['stored a', 'passed b']);
  expect(writer.add(pendingOf('c'))).toBe(true);
  await expect.poll(() => log.at(-1)).toBe('stored c');
});
