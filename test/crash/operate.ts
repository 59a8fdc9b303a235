/** The operator: waits until all is handled or dead, mends the handler, and deals with the dead letters. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../../src/client.ts';
import type { DeadLetters, Letter, LetterEdit } from '../../src/dead-letters.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { Topic } from '../../src/topic.ts';
import type { LedgerFile } from './ledger.ts';
import {
  groupsOf,
  haltedKey,
  having,
  idOf,
  numberOf,
  numbers,
  type Payload,
  parked,
  type Workload,
} from './messages.ts';
import type { Note, Stores } from './stores.ts';
import { until } from './until.ts';

export interface Operating {
  readonly client: Client;
  readonly topic: Topic<Payload>;
  readonly stores: Stores;
  readonly ledger: LedgerFile;
  readonly folder: string;
  readonly mended: Note;
  /** Handled by this process or one before it. */
  has(group: string, n: number): boolean;
}

export async function operate(operating: Operating, workload: Workload): Promise<void> {
  if (workload === 'main') await tend(operating);
  else if (workload === 'halt') await releaseKey(operating);
  else
    for (const group of groupsOf[workload]) await until('each is handled', () => allHandled(operating, group, numbers));
  for (const group of groupsOf[workload]) await until(`nothing is left in ${group}`, () => isIdle(operating, group));
}

async function tend(operating: Operating): Promise<void> {
  const { client, topic, stores, mended } = operating;
  const letters = client.deadLetters(topic, 'once');
  const dead = having('once', 'replayed', 'edited', 'discarded');
  const alive = having('once', 'plain', 'retry');
  const has = async (wanted: readonly number[], edited = false): Promise<boolean> => {
    const { effects } = await stores.read();
    const there = new Set(effects.flatMap((effect) => (effect.edited === edited ? [effect.n] : [])));
    return wanted.every((n) => there.has(n));
  };
  await until('what can be handled is', () => has(alive));
  if (!mended.there)
    await until('the others are dead letters', async () => isAll(dead, await listed(operating, 'once')));
  mended.leave();
  // The run of an operator who goes on after a crash is the same run.
  const startedAt = runOf(operating.folder);
  let first = true;
  await until('the dead letters are dealt with', async () => {
    const run = first ? { startedAt } : {};
    const passed = await unlessBusy(() => dealWith(operating, letters, run));
    if (!passed) return false;
    first = false;
    const left = await listed(operating, 'once');
    return left?.length === 0 && (await has(having('once', 'replayed'))) && (await has(having('once', 'edited'), true));
  });
  await until('each is handled in order', () => allHandled(operating, 'board', having('board', 'plain', 'retry')));
  await until('what is to stay dead is', async () => isAll(having('board', 'dead'), await listed(operating, 'board')));
}

async function dealWith(
  operating: Operating,
  letters: DeadLetters<Payload>,
  run: { readonly startedAt?: Date },
): Promise<void> {
  const left = new Set(await listed(operating, 'once'));
  const idsOf = (...fates: Parameters<typeof having>[1][]): readonly string[] =>
    having('once', ...fates)
      .filter((n) => left.has(n))
      .map(idOf);
  const [discarded, edited, replayed] = [idsOf('discarded'), idsOf('edited'), idsOf('replayed')];
  if (discarded.length > 0) await letters.discard({ where: { ids: discarded } });
  if (edited.length > 0) {
    const edit = ({ id, cursor, body }: Letter): LetterEdit<Payload> => {
      operating.ledger.write({ event: 'letters', group: 'once', ns: [numberOf(id)], places: [cursor] });
      return { payload: { ...(JSON.parse(Buffer.from(body).toString()) as Payload), edited: true } };
    };
    await letters.replay({ ...run, where: { ids: edited }, edit });
  }
  if (replayed.length > 0)
    await letters.replay({ ...run, where: { ids: replayed }, canary: { count: 1, watchMs: 30 } });
}

async function releaseKey(operating: Operating): Promise<void> {
  const { client, topic, stores, mended } = operating;
  const letters = client.deadLetters(topic, 'stop');
  const others = numbers.filter((n) => !parked.includes(n));
  await until('the other keys go on', () => allHandled(operating, 'stop', others));
  if (!mended.there) await until('all of the key wait', async () => isAll(parked, await listed(operating, 'stop')));
  mended.leave();
  await until('the key is free', async () => {
    let state: string | undefined;
    await unlessBusy(async () => {
      ({ state } = await letters.release(haltedKey, { halts: stores.store.halts, patienceMs: 5_000 }));
    });
    return state === 'free' && allHandled(operating, 'stop', parked);
  });
  await until('no letter is left', async () => (await listed(operating, 'stop'))?.length === 0);
}

const allHandled = ({ has }: Operating, group: string, wanted: readonly number[]): boolean =>
  wanted.every((n) => has(group, n));

const isAll = (wanted: readonly number[], found: readonly number[] | undefined): boolean =>
  found !== undefined && wanted.every((n) => found.includes(n));

/** Undefined while somebody else reads them: also one who is dead, until the broker knows. */
async function listed({ client, topic, ledger }: Operating, group: string): Promise<readonly number[] | undefined> {
  const ns: number[] = [];
  const places: string[] = [];
  const done = await unlessBusy(async () => {
    for await (const { id, cursor } of client.deadLetters(topic, group).list()) {
      ns.push(numberOf(id));
      places.push(cursor);
    }
  });
  if (!done) return undefined;
  ledger.write({ event: 'letters', group, ns, places });
  return ns;
}

async function unlessBusy(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (isHoldfastError(error) && error.code === 'busy') return false;
    throw error;
  }
}

async function isIdle({ client, topic }: Operating, group: string): Promise<boolean> {
  const { ready = 0, inFlight = 0, delayed = 0 } = await client.backlog(topic, group);
  return ready + inFlight + delayed === 0;
}

function runOf(folder: string): Date {
  const path = join(folder, 'run');
  try {
    return new Date(Number(readFileSync(path, 'utf8')));
  } catch {
    const now = Date.now();
    writeFileSync(path, String(now));
    return new Date(now);
  }
}
