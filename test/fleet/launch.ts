import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { descendantsOf, until } from './processes.ts';
import type { Launch, Recipe } from './recipe.ts';

/** Where the server's data folder is bind-mounted in its Debian root. */
export const dataInRoot = '/data';

// The process id is on disk before there is a server, so that the guard can miss none.
const enter = 'echo $$ > "$0/pid" && exec unshare --mount --pid --fork --kill-child sh -ec "$@"';

// The mounts are seen in the server's own mount namespace only and are gone with it: nothing to unmount, and nothing
// that removing the root or the data could follow to somewhere else.
const enterRoot = `
  mount --rbind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  mount --bind "$0/data" "$1${dataInRoot}"
  chroot "$1" chown -R "$2:" ${dataInRoot}
  exec chroot "$1" setpriv --reuid="$2" --regid="$2" --init-groups sh -ec "cd ${dataInRoot}; $3"`;

const enterMachine = `
  mount -t proc proc /proc
  cd "$0/data"
  exec sh -ec "$3"`;

export interface Running {
  /** The leader of the process group, outside of the namespaces. */
  readonly leader: ChildProcess;
  /** The first process inside: with it the kernel ends every other process of the namespace. */
  readonly pid: number;
}

/** Starts a server's processes, in process and mount namespaces of their own, as one process group. */
export async function launchServer(
  folder: string,
  installed: string,
  recipe: Recipe,
  launch: Launch,
  env: Readonly<Record<string, string>>,
): Promise<Running> {
  const log = openSync(logOf(folder), 'w');
  const inside = recipe.user ? enterRoot : enterMachine;
  const leader = spawn('sh', ['-c', enter, folder, inside, folder, installed, recipe.user ?? '', launch.script], {
    detached: true,
    stdio: ['ignore', log, log],
    env: {
      PATH: `${process.env.PATH}:/usr/sbin:/usr/bin:/sbin:/bin`,
      LANG: 'C.UTF-8',
      HOME: recipe.user ? dataInRoot : join(folder, 'data'),
      HOLDFAST_FLEET_RUN: dirname(folder),
      ...launch.env,
      ...env,
    },
  });
  closeSync(log);
  leader.unref();
  leader.on('error', () => {}); // seen below: there is no process then
  let pid: number | undefined;
  await until(() => {
    if (leader.pid) pid = descendantsOf(leader.pid)[0];
    return pid !== undefined || leader.exitCode !== null || leader.pid === undefined;
  }, 10_000);
  if (pid === undefined) throw new Error(`the server's process did not start; see ${logOf(folder)}`);
  return { leader, pid };
}

export function logOf(folder: string): string {
  return join(folder, 'server.log');
}
