import assert from 'node:assert/strict';
import type { Handling } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick } from './script.ts';
import { until } from './until.ts';
import type { World } from './world.ts';

const POISON = 3;
const MAX_ATTEMPTS = 2;

/** A message that kills each process that handles it. */
export function crashLoopCases(suite: Suite): void {
  // Elsewhere there is no process of its own to be killed.
  if (!suite.capabilities.multiProcess) return;
  const most = MAX_ATTEMPTS + (suite.capabilities.uncountedCrashes ?? 1);
  suite.case(
    'Trap 47: a message that kills its process is dead after its attempts and the calls before they count, and the others are handled',
    (world) => crashLoop(world, 'none', most),
    180_000,
  );
  if (suite.capabilities.order === 'none' || suite.capabilities.marks !== true) return;
  suite.case(
    'S18: the same in an ordered group, whose other messages keep their order',
    (world) => crashLoop(world, 'key', most),
    180_000,
  );
}

/** `most` calls of the poison at the most, each in a process of its own, and one more process gives it up. */
async function crashLoop(world: World, order: 'key' | 'none', most: number): Promise<void> {
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
    assert.ok(life <= most + 1, `${calls.length} calls in ${most + 1} processes, and it is not dead`);
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

  assert.ok(calls.length >= 2 && calls.length <= most, `it was handled ${calls.length} times`);
  const letters: unknown[] = [];
  for await (const { id, reason, attempts } of client.deadLetters(topic, 'g').list()) {
    letters.push({ id, reason, attempts });
  }
  assert.deepEqual(letters, [{ id: `m-${POISON}`, reason: 'crashed', attempts: MAX_ATTEMPTS }]);
  const first = handled.map(({ n }) => n).filter((n, index, all) => all.indexOf(n) === index);
  const wanted = orders.map(({ n }) => n).filter((n) => n !== POISON);
  assert.deepEqual(order === 'key' ? first : first.toSorted(), wanted);
}
