import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { withLock } from './lock.ts';

const ready = '.ready';

/** Whether `folder` was installed completely. */
export function isInstalled(folder: string): boolean {
  return existsSync(join(folder, ready));
}

/** What the build of an installed folder returned. */
export function installedVersion(folder: string): string {
  return readFileSync(join(folder, ready), 'utf8').trim();
}

/**
 * Fills `folder` by `build` unless it is there already, and returns it. `build` returns the exact version.
 *
 * Safe among processes: one builds, under a temporary name, while the others wait; the folder gets its name only when
 * it is complete. What a build that died has left is removed by the next.
 */
export async function installOnce(folder: string, build: (folder: string) => Promise<string>): Promise<string> {
  if (isInstalled(folder)) return folder;
  const cache = dirname(folder);
  const name = basename(folder);
  await mkdir(cache, { recursive: true });
  const onWait = () => say(`waiting for another run that installs ${name}`);
  await withLock(join(cache, lockName(name)), onWait, async () => {
    if (isInstalled(folder)) return;
    await removeLeftovers(cache, name);
    const building = join(cache, `.${name}.${process.pid}`);
    await mkdir(building);
    const version = await build(building);
    await writeFile(join(building, ready), version);
    await rm(folder, { recursive: true, force: true });
    await rename(building, folder);
  });
  return folder;
}

export function say(line: string): void {
  process.stderr.write(`fleet: ${line}\n`);
}

function lockName(name: string): string {
  return `.${name}.lock`;
}

async function removeLeftovers(cache: string, name: string): Promise<void> {
  for (const entry of await readdir(cache)) {
    const isBuild = entry.startsWith(`.${name}.`) && entry !== lockName(name);
    if (isBuild) await rm(join(cache, entry), { recursive: true, force: true, maxRetries: 10 });
  }
}
