/** What is found when all processes have ended: rows by SQL, messages by the broker's own client, nothing by holdfast. */

import { openRaw, type RawLetter } from './raw/raw-broker.ts';
import type { Stage } from './stage.ts';
import { type GroupName, groups } from './topics.ts';

export interface Found {
  /** Of transactions with an outbox row that were committed. */
  readonly business: readonly { readonly id: string; readonly key: string; readonly seq: number }[];
  /** `ord` is the order of their inserts. */
  readonly effects: readonly {
    readonly ord: number;
    readonly id: string;
    readonly grp: GroupName;
    readonly key: string;
    readonly seq: number;
    readonly proc: string;
  }[];
  readonly accounts: readonly { readonly id: number; readonly balance: number }[];
  readonly letters: Readonly<Record<GroupName, readonly RawLetter[]>>;
  /** Whatever is left of messages and rows, dead letters aside, by the name of what holds them. */
  readonly residue: ReadonlyMap<string, number>;
}

export async function drain({ setup, servers, query }: Stage): Promise<Found> {
  const business = await query('select id, key, seq from chaos.business');
  const effects = await query('select ord::float8, id, grp, key, seq, proc from chaos.effects');
  const accounts = await query('select id, balance::float8 from chaos.accounts');
  const store = await storeLeft(query);
  const raw = await openRaw(setup, servers.broker.server);
  try {
    const letters: Record<GroupName, readonly RawLetter[]> = { pool: [], line: [], bank: [] };
    for (const group of groups) letters[group] = await raw.dead(group);
    const residue = new Map([...store, ...(await raw.left())]);
    return { business, effects, accounts, letters, residue } as unknown as Found;
  } finally {
    await raw.close();
  }
}

/** What the outbox still holds, parked rows too. */
export async function storeLeft(query: Stage['query']): Promise<ReadonlyMap<string, number>> {
  const [row] = await query(
    `select (select count(*) from holdfast.outbox) outbox, (select count(*) from holdfast.outbox_parked) parked`,
  );
  return new Map([
    ['outbox', Number(row?.outbox)],
    ['outbox_parked', Number(row?.parked)],
  ]);
}
