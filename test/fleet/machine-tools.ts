import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasCommand, run } from './command.ts';
import { say } from './install-once.ts';
import { withLock } from './lock.ts';

export const aptGet: readonly [string, ...string[]] = [
  'apt-get',
  '--yes',
  '--no-install-recommends',
  '-o',
  'DPkg::Lock::Timeout=300',
  '-o',
  'Acquire::Retries=3',
];

export const noninteractive: Readonly<Record<string, string>> = {
  DEBIAN_FRONTEND: 'noninteractive',
  LC_ALL: 'C.UTF-8',
};

let listsUpdated = false;

/**
 * Installs on the machine itself what it lacks of these commands, given with the Debian package of each.
 *
 * Only tools: servers live in file systems of their own, so that none is ever started by its package here.
 */
export async function ensureCommands(packageOf: Readonly<Record<string, string>>): Promise<void> {
  const missing = () => Object.keys(packageOf).filter((command) => !hasCommand(command));
  if (missing().length === 0) return;
  const lock = join(tmpdir(), 'holdfast-fleet-apt.lock'); // apt's own lock makes a second `update` fail, not wait
  await withLock(
    lock,
    () => say('waiting for another run that installs packages'),
    async () => {
      const packages = missing().map((command) => packageOf[command]!);
      if (packages.length === 0) return;
      say(`installing ${packages.join(' and ')} by apt-get (once)`);
      const [command, ...args] = aptGet;
      const options = { attempts: 3, env: noninteractive };
      // One source of the machine's that is out of reach fails an update as a whole; the packages may be there all the same.
      const update = listsUpdated ? undefined : await run(command, [...args, 'update'], options).catch(asError);
      listsUpdated = true;
      await run(command, [...args, 'install', ...packages], options).catch((error: unknown) => {
        throw new Error(asError(error).message, update instanceof Error ? { cause: update } : {});
      });
    },
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
