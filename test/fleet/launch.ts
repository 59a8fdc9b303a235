import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { descendantsOf, until } from './processes.ts';
import type { Launch, Recipe } from './recipe.ts';

/** Where the server's data folder is bind-mounted in its Debian root. */
export const dataInRoot = '/data';

// The process id is on disk before there is a server, so that the guard can miss none.
const enter = 'echo $$ > "$0/pid" && exec unshare --mount --pid --fork --kill-child sh -ec "$@"';

// The mounts are seen in the server's own mount namespace only and are gone with it: nothing to unmount, and nothing
// that removing the root or the data could follow to somewhere else. The root is read-only: servers share it.
const enterRoot = `
  mount --bind "$1" "$1"
  mount -o remount,bind,ro "$1"
  mount --rbind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  mount -t tmpfs tmpfs "$1/tmp"
  mount -t tmpfs tmpfs "$1/run"
  mount --bind "$0/data" "$1${dataInRoot}"
  chroot "$1" chown -R "$2:" ${dataInRoot}
  exec chroot "$1" setpriv --reuid="$2" --regid="$2" --init-groups sh -ec "cd ${dataInRoot}; $3"`;

const enterMachine = `
  mount -t proc proc /proc
  cd "$0/data"
  exec sh -ec "$3"`;

/** A server's processes while they run. */
export interface Running {
  /** The first process inside the namespaces: when it ends, the kernel ends every other one. */
  readonly pid: number;
  /** Until the process outside has reaped the first one inside, and with it all others are gone. */
  readonly isAlive: () => boolean;
}

/** What `launchServer` needs besides the recipe's launch. */
export interface LaunchFolders {
  /** The server's own folder, with `data` in it. */
  readonly folder: string;
  readonly installed: string;
}

/** Starts a server's processes, in process and mount namespaces of their own, as one process group. */
export async function launchServer(
  { folder, installed }: LaunchFolders,
  { user = '' }: Recipe,
  { script, env }: Launch,
): Promise<Running> {
  const log = openSync(logOf(folder), 'w');
  const inside = user ? enterRoot : enterMachine;
  const leader = spawn('sh', ['-c', enter, folder, inside, folder, installed, user, script], {
    detached: true,
    stdio: ['ignore', log, log],
    env: {
      PATH: `${process.env.PATH}:/usr/sbin:/usr/bin:/sbin:/bin`,
      LANG: 'C.UTF-8',
      HOME: user ? dataInRoot : join(folder, 'data'),
      // The guard ends only processes that carry this run's mark.
      HOLDFAST_FLEET_RUN: dirname(folder),
      ...env,
    },
  });
  closeSync(log);
  leader.unref();
  leader.on('error', () => {}); // there is no pid then, which is reported below
  const first = await firstInside(leader);
  if (leader.pid === undefined || first === undefined) {
    throw new Error(`cannot start the server's process; this needs root on Linux:\n${await tailOfLog(folder)}`);
  }
  return { pid: first, isAlive: () => !hasEnded(leader) };
}

/** What the server has printed since it was last started. */
export async function readLog(folder: string): Promise<string> {
  return await readFile(logOf(folder), 'utf8').catch(() => '');
}

export async function tailOfLog(folder: string): Promise<string> {
  return (await readLog(folder)).trim().split('\n').slice(-20).join('\n');
}

async function firstInside(leader: ChildProcess): Promise<number | undefined> {
  let first: number | undefined;
  await until(() => {
    if (leader.pid !== undefined) first = descendantsOf(leader.pid)[0];
    return first !== undefined || leader.pid === undefined || hasEnded(leader);
  }, 10_000);
  return first;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function logOf(folder: string): string {
  return join(folder, 'server.log');
}
