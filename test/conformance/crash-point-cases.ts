import assert from 'node:assert/strict';
import type { Client } from '../../src/client.ts';
import { DeadLetter } from '../../src/errors.ts';
import { lettersOf } from './dead-letter-cases.ts';
import { assertNoPhantom, type Ledger } from './ledger.ts';
import type { Suite } from './options.ts';
import { quick, scriptedTopic, type TopicScript } from './script.ts';
import { until } from './until.ts';
import { publishOrders, type World } from './world.ts';

const COUNT = 12;
const OPTIONS = { ...quick('g', 0, [50, 50]), concurrency: 4 };
const isDead = (n: number): boolean => n % 3 === 0;

/** A process that dies between two durable steps: of a retry, a dead letter, a replay. */
export function crashPointCases(suite: Suite): void {
  suite.case(
    'Trap 43: a process that dies at any step between a copy and the end of its original leaves at most a duplicate with the same id, and loses nothing',
    async (world) => {
      const points = new Set<string>();
      const client = await world.client({ crashPoint: (name) => void points.add(name) });
      const script = world.script();
      const ids = await publishOrders(client, scriptedTopic(script), COUNT);
      points.clear();
      await handleAll(world, client, script, ids);
      assert.ok(points.size > 0, 'no step has a name');
      await Promise.all([...points].map((point) => dieHandling(world, point)));
    },
    180_000,
  );

  suite.case(
    'Trap 50: a replay whose process dies at any of its steps loses nothing',
    async (world) => {
      const points = new Set<string>();
      const client = await world.client({ crashPoint: (name) => void points.add(name) });
      const script = world.script();
      await bury(world, client, script);
      points.clear();
      assert.deepEqual(await client.deadLetters(scriptedTopic(script), 'g').replay(), { replayed: COUNT });
      if (!suite.capabilities.atomicMoves) assert.ok(points.size > 0, 'no step of a replay has a name');
      await Promise.all([...points].map((point) => dieReplaying(world, point)));
    },
    180_000,
  );

  async function dieHandling(world: World, point: string): Promise<void> {
    const client = await world.client();
    const script = world.script();
    const ids = await publishOrders(client, scriptedTopic(script), COUNT);
    const victim = await world.victim(`dies at ${point}`, { dieAt: point });
    // It may die before it could say that it consumes.
    await victim.consume(script, OPTIONS, { failUntil: 1, deadEvery: 3 }).catch(() => undefined);
    await victim.died();
    const copies = point === 'dead:copy-confirmed' ? await lettersOf(client, scriptedTopic(script)) : [];
    const { handled, dead, called } = await handleAll(world, client, script, ids, victim.handled);
    const doubled = handled.length + dead.length > COUNT;
    // The second letter of one original may replace the first.
    if (point === 'dead:copy-confirmed')
      assert.ok(
        copies.some(({ id }) => called.has(id)),
        `${point}: both the copy and its original must be there`,
      );
    else if (point.endsWith('copy-confirmed'))
      assert.ok(doubled, `${point}: both the copy and its original must be there`);
    else if (suite.capabilities.atomicMoves)
      assert.equal(dead.length, new Set(dead).size, `${point}: a dead letter is there twice`);
  }
}

/** Handles until each message is handled or dead: every one fails once, every third is given up. */
async function handleAll(
  world: World,
  client: Client,
  script: TopicScript,
  ids: readonly string[],
  before?: Ledger,
): Promise<{
  readonly handled: readonly string[];
  readonly dead: readonly string[];
  readonly called: ReadonlySet<string>;
}> {
  const called = new Set<string>();
  const topic = scriptedTopic(script);
  const { consumer, handled } = await world.consume(client, topic, OPTIONS, ({ id, payload, attempt }) => {
    called.add(id);
    if (isDead(payload.n)) throw new DeadLetter('as scripted');
    if (attempt === 1) throw new Error('fails once');
  });
  const living = ids.filter((_, n) => !isDead(n));
  const done = (): Set<string> => handled.ids().union(before?.ids() ?? new Set());
  await until('each is handled', () => living.every((id) => done().has(id)));
  const wanted = ids.length - living.length;
  const dead = async (): Promise<readonly string[]> => (await lettersOf(client, topic)).map(({ id }) => id);
  await until('the others are dead letters', async () => new Set(await dead()).size === wanted);
  await until('nothing is left', async () => {
    const { ready = 0, inFlight = 0, delayed = 0 } = await client.backlog(topic, 'g');
    return ready + inFlight + delayed === 0;
  });
  await consumer.close();
  assertNoPhantom(handled, ids);
  const letters = await dead();
  assert.deepEqual([...new Set(letters)].sort(), ids.filter((_, n) => isDead(n)).sort());
  return { handled: [...handled.entries, ...(before?.entries ?? [])].map(({ id }) => id), dead: letters, called };
}

async function bury(world: World, client: Client, script: TopicScript): Promise<readonly string[]> {
  const topic = scriptedTopic(script);
  const { consumer } = await world.consume(client, topic, quick('g'), () => {
    throw new DeadLetter('bad');
  });
  const ids = await publishOrders(client, topic, COUNT);
  await until('all are dead letters', async () => (await client.deadLetters(topic, 'g').count()) === COUNT);
  await consumer.close();
  return ids;
}

async function dieReplaying(world: World, point: string): Promise<void> {
  const client = await world.client();
  const script = world.script();
  const ids = await bury(world, client, script);
  const victim = await world.victim(`dies at ${point}`, { dieAt: point });
  victim.replay(script, 'g');
  await victim.died();
  const { handled } = await world.consume(client, scriptedTopic(script), quick('g'));
  const letters = client.deadLetters(scriptedTopic(script), 'g');
  // A lock or lease of the dead may have to run out first.
  await until('the rest is replayed, and no letter is left', async () => {
    const left = await letters
      .replay()
      .then(() => letters.count())
      .catch(() => undefined);
    return left === 0 && handled.ids().size === ids.length;
  });
  assertNoPhantom(handled, ids);
}
