/** One seed from the first message to the verdict. */

import { memory, memoryBroker } from '../../adapters/memory/index.ts';
import { defineTopic } from '../../src/index.ts';
import { check } from './check.ts';
import { newLedger } from './ledger.ts';
import { type Disturbance, planOf } from './plan.ts';
import { type Payload, type Process, startProcess, type World } from './process.ts';
import { seeded } from './random.ts';
import { simDatabase } from './sim-database.ts';
import { type VirtualTime, virtualTime } from './time.ts';
import { calm, type Sabotage, sleep } from './weather.ts';
import { deathOf, write } from './writers.ts';

export interface Verdict {
  readonly seed: number;
  readonly problems: readonly string[];
  readonly accepted: number;
  readonly handled: number;
  readonly dead: number;
  readonly repeats: number;
  readonly disturbed: number;
}

/** After this long in calm weather everything must have come to rest. */
const REST_MS = 30 * 60_000;

export async function runSeed(seed: number, sabotage?: Sabotage): Promise<Verdict> {
  const plan = planOf(seed);
  const random = seeded(seed ^ 0x5eed);
  const time = virtualTime(random);
  const world: World = {
    plan,
    random,
    weather: calm(),
    broker: memoryBroker(),
    db: simDatabase(),
    ledger: newLedger(plan.groups.map(({ name }) => name)),
    copies: new Map(),
    sabotage,
    topic: defineTopic<Payload>('sim.topic', {
      partitions: plan.partitions,
      groups: Object.fromEntries(plan.groups.map(({ name, ordered }) => [name, ordered ? { order: 'key' } : {}])),
      key: ({ key }) => key,
      ...(plan.lanes ? { priority: ({ lane }: Payload) => lane ?? 'normal' } : {}),
    }),
  };
  const slots: (Process | undefined)[] = [];
  const unhandled = (error: unknown): void => {
    world.ledger.problems.push(`UNHANDLED REJECTION: ${String(error)}`);
  };
  process.on('unhandledRejection', unhandled);
  const starting = new Set<number>();

  function start(index: number): void {
    if (starting.has(index)) return;
    starting.add(index);
    slots[index] = undefined;
    const killed = (): void => {
      starting.delete(index);
      setTimeout(() => start(index), 200);
    };
    void startProcess(world, killed).then((started) => {
      if (!started.life.alive) return;
      starting.delete(index);
      slots[index] = started;
    });
  }

  try {
    for (let index = 0; index < plan.processes; index += 1) start(index);
    const up = await time.run(() => slots.filter(Boolean).length === plan.processes, 60_000);
    if (!up) return verdict(world, ['STUCK: a process does not start in calm weather']);
    Object.assign(world.weather, plan.weather);
    const writers = [0, 1].map((writer) => write(world, slots, writer, time));
    const disturbing = disturb(world, slots, start);
    await time.run(() => false, plan.lengthMs);
    Object.assign(world.weather, calm());
    let written = false;
    void Promise.all([...writers, disturbing]).then(() => {
      written = true;
    });
    const rests = (): boolean => written && starting.size === 0 && atRest(world);
    const rested = await time.run(rests, REST_MS);
    const problems = rested ? [] : [`STUCK: ${await restlessness(world, written)}`];
    await readDead(world, time);
    problems.push(...(await closeAll(slots, time)));
    return verdict(world, problems);
  } finally {
    process.off('unhandledRejection', unhandled);
  }
}

async function disturb(world: World, slots: (Process | undefined)[], start: (index: number) => void): Promise<void> {
  const { ledger } = world;
  await Promise.all(
    world.plan.disturbances.map(async ({ atMs, kind, process: index, forMs }: Disturbance) => {
      await sleep(atMs);
      const victim = slots[index];
      if (kind === 'broker-away' || kind === 'store-away') {
        const field = kind === 'broker-away' ? 'brokerAway' : 'storeAway';
        world.weather[field] = true;
        await sleep(forMs);
        world.weather[field] = false;
      } else if (kind === 'calm') {
        Object.assign(world.weather, calm());
        await sleep(forMs);
        Object.assign(world.weather, world.plan.weather);
      } else if (victim?.life.alive) {
        if (kind === 'disconnect') victim.disconnect();
        else {
          if (kind === 'crash') victim.crash();
          else {
            ledger.disturbed += 1;
            slots[index] = undefined;
            await Promise.race([victim.client.close({ drainMs: forMs }), deathOf(victim)]);
            // Killed by what it still handled: then it is started again already.
            if (!victim.life.alive) return;
          }
          await sleep(forMs);
          start(index);
        }
      }
    }),
  );
}

function atRest({ broker, db }: World): boolean {
  if (db.rows.some((row) => row.parked === undefined)) return false;
  const groups = broker.topics.get('sim.topic')?.groups.values() ?? [];
  for (const { ready, delayed, members } of groups) {
    if (delayed.size > 0 || members.some(({ leases }) => leases.size > 0)) return false;
    if (Object.values(ready).some((queues) => queues.some((queue) => queue.length > 0))) return false;
  }
  return true;
}

async function restlessness({ broker, db }: World, written: boolean): Promise<string> {
  const rows = db.rows.filter((row) => row.parked === undefined).map(({ id }) => id);
  const left = [...(broker.topics.get('sim.topic')?.groups.values() ?? [])].map(
    ({ name, ready, delayed, members }) =>
      `${name}: ready ${Object.values(ready)
        .flat()
        .reduce((sum, queue) => sum + queue.length, 0)}, delayed ${delayed.size}, ` +
      `held ${members.flatMap(({ leases }) => [...leases].map(({ entry }) => entry.message.id)).join(' ')} by ${members.length}`,
  );
  return `${written ? '' : 'a writer has not ended; '}rows ${rows.join(' ')}; ${left.join('; ')}`;
}

async function readDead(world: World, time: VirtualTime): Promise<void> {
  const reader = memory({ broker: world.broker });
  let read = false;
  const reading = (async () => {
    for (const { name } of world.plan.groups) {
      const topology = { topic: 'sim.topic', groups: [], partitions: world.plan.partitions, lanes: world.plan.lanes };
      for await (const page of reader.deadLetters(topology, name).scan({ pageSize: 100, signal: undefined }))
        for (const { message } of page)
          world.ledger.groups.get(name)!.dead.push({ id: message.id!, reason: message.marks.reason ?? '' });
    }
    read = true;
  })();
  await time.run(() => read, 60_000);
  await reading;
  for (const { group, id } of world.db.effects) world.ledger.groups.get(group)!.effects.push(id);
  for (const row of world.db.rows) if (row.parked !== undefined) world.ledger.parked.add(`${row.id} ${row.parked}`);
}

/** Every client that lives closes, and leaves nothing running. */
async function closeAll(slots: readonly (Process | undefined)[], time: VirtualTime): Promise<readonly string[]> {
  const living = slots.filter((slot) => slot?.life.alive);
  let closed = false;
  void Promise.all(living.map((slot) => slot!.client.close({ drainMs: 1_000 }))).then(() => {
    closed = true;
  });
  return (await time.run(() => closed, 5 * 60_000)) ? [] : ['STUCK: a client does not close'];
}

function verdict({ plan, ledger, copies }: World, problems: readonly string[]): Verdict {
  const groups = [...ledger.groups.values()];
  const sum = (of: (group: (typeof groups)[number]) => number): number =>
    groups.reduce((total, group) => total + of(group), 0);
  return {
    seed: plan.seed,
    problems: [...problems, ...check(plan, ledger, copies)],
    accepted: [...ledger.attempted.values()].filter(({ outcome }) => outcome === 'accepted').length,
    handled: sum(({ effects }) => new Set(effects).size),
    dead: sum(({ dead }) => dead.length),
    repeats: sum(({ calls }) => calls.length - new Set(calls.map(({ id }) => id)).size),
    disturbed: ledger.disturbed,
  };
}
