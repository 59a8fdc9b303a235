import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { DatabaseSync } from 'node:sqlite';

/** Who consumes: one row per subscription, with its process. All methods but `live` and `gone` belong inside a write step. */
export interface Owners {
  /** A new owner's number, never given twice. */
  add(group: number, until: number): number;
  /** Its heartbeat. */
  renew(owner: number, group: number, until: number): void;
  remove(owner: number): void;
  /** Owners of the group whose heartbeat is current, oldest first. */
  live(group: number, now: number): readonly number[];
  /** Owners whose process certainly runs no more: their leases need not be waited for. */
  gone(): readonly number[];
  /** Ends everything that these owners hold. Their unsettled deliveries stay marked as such. */
  bury(owners: readonly number[]): void;
  /** Gives back all that this owner holds, unspent and unsuspected. */
  release(owner: number): void;
}

export function createOwners(db: DatabaseSync, instance: string): Owners {
  const insert = db.prepare(
    'INSERT INTO hf_owners (grp, instance, host, pid, started, until) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const renew = db.prepare(
    'INSERT INTO hf_owners (id, grp, instance, host, pid, started, until) VALUES (?, ?, ?, ?, ?, ?, ?) ' +
      'ON CONFLICT (id) DO UPDATE SET until = excluded.until',
  );
  const remove = db.prepare('DELETE FROM hf_owners WHERE id = ?');
  const live = db.prepare('SELECT id FROM hf_owners WHERE grp = ? AND until > ? ORDER BY id');
  const here = db.prepare('SELECT id, pid, started FROM hf_owners WHERE host = ?');
  const expire = db.prepare('UPDATE hf_claims SET until = 0 WHERE owner = ?');
  const free = db.prepare('UPDATE hf_claims SET owner = 0, until = 0 WHERE owner = ?');
  const freeShards = db.prepare('UPDATE hf_shards SET owner = 0, until = 0 WHERE owner = ?');
  const process_ = thisProcess();

  return {
    add: (group, until) =>
      Number(insert.run(group, instance, process_.host, process_.pid, process_.started, until).lastInsertRowid),
    renew(owner, group, until) {
      renew.run(owner, group, instance, process_.host, process_.pid, process_.started, until);
    },
    remove(owner) {
      remove.run(owner);
    },
    live: (group, now) => live.all(group, now).map((row) => row.id as number),
    gone: () =>
      here
        .all(process_.host)
        .filter((row) => !runs(row.pid as number, row.started as string))
        .map((row) => row.id as number),
    bury(owners) {
      for (const owner of owners) {
        expire.run(owner);
        freeShards.run(owner);
        remove.run(owner);
      }
    },
    release(owner) {
      free.run(owner);
      freeShards.run(owner);
      remove.run(owner);
    },
  };
}

/**
 * This process, so that others can tell whether it still runs. The host is one boot of one process namespace: in two
 * containers that share a file, the same number is two processes, and neither can see the other's.
 */
function thisProcess(): { readonly host: string; readonly pid: number; readonly started: string } {
  let host = hostname();
  if (process.platform === 'linux') {
    try {
      host += `/${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${readlinkSync('/proc/self/ns/pid')}`;
    } catch {
      // Without /proc nobody can be seen to be gone: a name that nobody else has leaves it to the leases.
      host += `/${process.pid}/${performance.timeOrigin}`;
    }
  }
  return { host, pid: process.pid, started: startOf(process.pid)?.started ?? '' };
}

function runs(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ESRCH') return false;
  }
  const start = startOf(pid);
  if (start === undefined || started === '') return true;
  // A zombie answers signals, and a number is used again: neither is the process that wrote its row.
  return !start.zombie && start.started === started;
}

/** From Linux's /proc/<pid>/stat (proc_pid_stat(5)): field 3 is the state, field 22 the start in ticks since boot. */
function startOf(pid: number): { readonly zombie: boolean; readonly started: string } | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { zombie: fields[0] === 'Z' || fields[0] === 'X', started: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}
