import assert from 'node:assert/strict';
import type { Handling } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import type { World } from './world.ts';

const POISON = 3;
const MAX_ATTEMPTS = 2;
/** One for each call that the bound allows, and one that gives the message up. */
const MOST_LIVES = MAX_ATTEMPTS + 2;

/** A message that kills each process that handles it. */
export function crashLoopCases(suite: Suite): void {
  // Elsewhere there is no process of its own to be killed.
  if (!suite.capabilities.multiProcess) return;
  suite.case(
    'Trap 47: a message that kills its process is dead after maxAttempts + 1 calls, and the others are handled',
    (world) => crashLoop(world, 'none'),
    180_000,
  );
  if (suite.capabilities.order === 'none' || suite.capabilities.marks !== true) return;
  suite.case(
    'S18: the same in an ordered group, whose other messages keep their order',
    (world) => crashLoop(world, 'key'),
    180_000,
  );
}

async function crashLoop(world: World, order: 'key' | 'none'): Promise<void> {
  const script = world.script({ groups: { g: order }, partitions: 1 });
  const topic = world.topic(script);
  const client = await world.client();
  const orders = Array.from({ length: 8 }, (_, n) => ({ n, key: 'k' }));
  const results = await client.publishAll(topic, orders, ({ n }) => ({ id: `m-${n}` }));
  assert.ok(results.every(({ ok }) => ok));

  const calls: Handling[] = [];
  const handled: Handling[] = [];
  // On some brokers an estimate; the letters themselves are counted below.
  const isDead = async (): Promise<boolean> => (await client.backlog(topic, 'g')).dead !== 0;
  for (let life = 1; !(await isDead()); life++) {
    assert.ok(life <= MOST_LIVES, `${calls.length} calls in ${MOST_LIVES} processes, and it is not dead`);
    const victim = await world.victim(`life ${life}`);
    // It may be killed before it could say that it consumes.
    await victim.consume(script, quick('g', MAX_ATTEMPTS - 1), { dieOn: POISON }).catch(() => undefined);
    const done = (): boolean =>
      new Set([...handled, ...victim.handled.entries].map(({ n }) => n)).size >= orders.length - 1;
    const killed = (): boolean => victim.said.some((line) => line.startsWith('ended'));
    await until('the poison has killed or is dead', async () => killed() || (done() && (await isDead())));
    await victim.kill();
    calls.push(...victim.started.of(`m-${POISON}`));
    handled.push(...victim.handled.entries);
  }

  assert.ok(calls.length >= 2 && calls.length <= MAX_ATTEMPTS + 1, `it was handled ${calls.length} times`);
  const letters: unknown[] = [];
  for await (const { id, reason, attempts } of client.deadLetters(topic, 'g').list()) {
    letters.push({ id, reason, attempts });
  }
  assert.deepEqual(letters, [{ id: `m-${POISON}`, reason: 'crashed', attempts: MAX_ATTEMPTS }]);
  const first = handled.map(({ n }) => n).filter((n, index, all) => all.indexOf(n) === index);
  const wanted = orders.map(({ n }) => n).filter((n) => n !== POISON);
  assert.deepEqual(order === 'key' ? first : first.toSorted(), wanted);
}
