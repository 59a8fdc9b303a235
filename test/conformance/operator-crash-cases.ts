import assert from 'node:assert/strict';
import { bury } from './bury.ts';
import { lettersOf } from './dead-letter-cases.ts';
import type { Ledger } from './ledger.ts';
import { DISCARD_BELOW, type Operation, operate, originalNumber } from './operate.ts';
import type { Suite } from './options.ts';
import { quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';
import type { World } from './world.ts';

const COUNT = 10;

/** An operator's process that dies at each of its steps, and another that goes on with the run. */
export function operatorCrashCases(suite: Suite): void {
  for (const does of ['replay', 'edit', 'canary'] as const) {
    suite.case(
      `Trap 50: a run (${does}) whose process dies at any of its steps is gone on with: nothing is lost, and twice at most what was on its way`,
      async (world) => {
        const points = await pointsOf(world, does);
        assert.ok(points.includes('replay:moved'), String(points));
        await Promise.all(points.map((point) => dieAndGoOn(world, does, point)));
      },
      180_000,
    );
  }

  suite.case(
    'Trap 50: a discard whose process dies removes nothing but what its filter names',
    async (world) => {
      const points = await pointsOf(world, 'discard');
      assert.ok(points.includes('discard:moved'), String(points));
      await Promise.all(points.map((point) => dieDiscarding(world, point)));
    },
    180_000,
  );

  async function dieAndGoOn(world: World, does: Operation['does'], point: string): Promise<void> {
    const client = await world.client();
    const script = world.script();
    const topic = scriptedTopic(script);
    const ids = await bury(world, client, script, COUNT);
    const operation: Operation = { does, startedAt: Date.now() };
    const victim = await world.victim(`dies at ${point}`, { dieAt: point });
    victim.operate(script, 'g', operation);
    await victim.died();
    const { handled } = await world.consume(client, topic, quick('g'));
    const letters = client.deadLetters(topic, 'g');
    const numbers = (): Set<number> => new Set(handled.entries.map(({ n }) => originalNumber(n)));
    // The lock of the dead may have to run out first.
    await until(`${point}: the run is over, and no letter is left`, async () => {
      const over = await operate(letters, operation).then(
        () => true,
        () => false,
      );
      return over && (await letters.count()) === 0 && numbers().size === ids.length;
    });
    if (suite.capabilities.atomicMoves) assert.equal(handled.entries.length, COUNT, `${point}: moved twice`);
    assertOneIdEach(handled, point);
  }

  async function dieDiscarding(world: World, point: string): Promise<void> {
    const client = await world.client();
    const script = world.script();
    const ids = await bury(world, client, script, COUNT);
    const topic = scriptedTopic(script);
    const victim = await world.victim(`dies at ${point}`, { dieAt: point });
    victim.operate(script, 'g', { does: 'discard', startedAt: 0 });
    await victim.died();
    const others = ids.slice(DISCARD_BELOW);
    const left = async (): Promise<Set<string>> => new Set((await lettersOf(client, topic)).map(({ id }) => id));
    await until('the others are there', async () => {
      const found = await left().catch(() => new Set<string>());
      return others.every((id) => found.has(id));
    });
    await until('the rest is discarded', () =>
      operate(client.deadLetters(topic, 'g'), { does: 'discard', startedAt: 0 }).then(
        () => true,
        () => false,
      ),
    );
    assert.deepEqual([...(await left())].sort(), [...others].sort());
  }
}

/** The steps that have a name, seen in a run that nothing interrupts. */
async function pointsOf(world: World, does: Operation['does']): Promise<readonly string[]> {
  const points = new Set<string>();
  const operator = await world.client({ crashPoint: (name) => void points.add(name) });
  const script = world.script();
  await bury(world, await world.client(), script, COUNT);
  await operate(operator.deadLetters(scriptedTopic(script), 'g'), { does, startedAt: Date.now() });
  return [...points];
}

/** A message that comes twice comes with one id, also where the id is new: an inbox knows it. */
function assertOneIdEach(handled: Ledger, point: string): void {
  const byNumber = Map.groupBy(handled.entries, ({ n }) => n);
  for (const [n, entries] of byNumber) {
    assert.equal(new Set(entries.map(({ id }) => id)).size, 1, `${point}: several ids of ${n}`);
    assert.ok(entries.length <= 2, `${point}: ${n} came ${entries.length} times`);
  }
}
