// Run by guarding.ts as a process of its own: when the process that started the servers is gone, however it went, the
// pipe to our stdin ends, and we kill the servers and remove the run's folder.

import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { descendantsOf, isAlive, signal, until } from './processes.ts';

const run = process.argv[2]!;

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {});
process.stdin.resume();
process.stdin.on('close', async () => {
  // A server that is just being started writes its process id under the old name, fails to, and ends.
  if (!existsSync(run)) return;
  const ending = `${run}-ending`;
  renameSync(run, ending);
  const servers = readdirSync(ending).flatMap((name) => serverIn(join(ending, name)));
  const processes = servers.flatMap((pid) => [pid, ...descendantsOf(pid)]);
  for (const pid of servers) signal(-pid, 'SIGKILL');
  await until(() => !processes.some(isAlive), 10_000);
  rmSync(ending, { recursive: true, force: true, maxRetries: 10 });
});

function serverIn(folder: string): number[] {
  try {
    const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
    // The number may have been given to another process since.
    const isOurs = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`HOLDFAST_FLEET_RUN=${run}\0`);
    return pid > 1 && isOurs ? [pid] : [];
  } catch {
    return [];
  }
}
