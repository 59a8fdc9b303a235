/** Who publishes: directly or by the outbox, one message after the other as planned, and what each was told. */

import { isHoldfastError } from '../../src/index.ts';
import { StoreAway } from './flaky-store.ts';
import type { PlannedMessage } from './plan.ts';
import { type Process, payloadOf, type World } from './process.ts';
import type { VirtualTime } from './time.ts';
import { sleep } from './weather.ts';

const PUBLISH_MS = 5_000;

/** Publishes a writer's messages one after the other, as planned. */
export async function write(
  world: World,
  slots: readonly (Process | undefined)[],
  writer: number,
  time: VirtualTime,
): Promise<void> {
  const open: Promise<unknown>[] = [];
  const began = time.now;
  let last: Process | undefined;
  for (const message of world.plan.messages.filter((each) => each.writer === writer)) {
    const waitMs = began + message.atMs - time.now;
    if (waitMs > 0) await sleep(waitMs);
    const home = slots[writer % slots.length] ?? slots.find((slot) => slot?.life.alive);
    if (home === undefined || !home.life.alive) continue;
    // A key's order is that of one publisher: what another process has not been told of yet would race.
    if (home !== last) await Promise.all(open);
    last = home;
    const written = message.route === 'direct' ? direct(world, home, message, time) : boxed(world, home, message, time);
    const done = Promise.race([written, deathOf(home)]);
    open.push(done);
    // One transaction after the other: else nothing would say which of a key comes first.
    if (message.awaited || message.route !== 'direct') await done;
  }
  await Promise.all(open);
}

export async function deathOf({ life }: Process): Promise<void> {
  while (life.alive) await sleep(1_000);
}

function attempt(world: World, message: PlannedMessage, time: VirtualTime) {
  const attempted = {
    id: message.id,
    key: message.key,
    seq: message.seq,
    lane: message.lane ?? 'normal',
    outcome: 'died' as 'accepted' | 'not-sent' | 'unknown' | 'died',
    deadline: time.now + PUBLISH_MS,
    settledAt: undefined as number | undefined,
  };
  world.ledger.attempted.set(message.id, attempted);
  return attempted;
}

async function direct(world: World, { client, life }: Process, message: PlannedMessage, time: VirtualTime) {
  const attempted = attempt(world, message, time);
  let outcome: typeof attempted.outcome;
  try {
    await client.publish(world.topic, payloadOf(message), { id: message.id, timeoutMs: PUBLISH_MS });
    outcome = 'accepted';
  } catch (error) {
    if (!isHoldfastError(error) || error.outcome === undefined) throw error;
    outcome = error.outcome;
  }
  if (!life.alive) return;
  attempted.outcome = outcome;
  attempted.settledAt = time.now;
}

async function boxed(world: World, { store, life }: Process, message: PlannedMessage, time: VirtualTime) {
  const attempted = attempt(world, message, time);
  let outcome: typeof attempted.outcome = 'accepted';
  try {
    await store.transaction(async (tx) => {
      await store.add(tx, world.topic as never, payloadOf(message), { id: message.id });
      if (message.route === 'rolled-back') throw new RangeError('rolled back');
    });
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof StoreAway)) throw error;
    outcome = error instanceof RangeError ? 'not-sent' : 'unknown';
    if (error instanceof RangeError) world.ledger.rolledBack.add(message.id);
  }
  if (!life.alive) return;
  attempted.outcome = outcome;
  attempted.settledAt = Math.min(time.now, attempted.deadline);
}
