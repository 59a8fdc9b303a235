import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCommand, run } from './command.ts';
import { installOnce } from './install-once.ts';
import type { DebianPackage } from './releases.ts';
import { cacheFolder } from './releases.ts';

const apt = ['apt-get', '-y', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
const noninteractive = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' };
/** In dpkg-query's own notation: without Debian's epoch and revision. */
const upstreamVersion = '$' + '{source:Upstream-Version}';

/**
 * Builds a Debian file system with the packages in it under `folder`; returns the first package's version.
 *
 * Servers of other Debian releases run beside the machine's own this way, and nothing is installed, configured or
 * started on the machine itself.
 */
export async function buildDebianRoot(folder: string, { suite, packages }: DebianPackage): Promise<string> {
  const base = await baseRoot(suite);
  await run('cp', ['-a', '--reflink=auto', `${base}/.`, folder]);
  await copyNetworkSettings(folder);
  // Not in the base: half an hour may lie between the two, and an outdated list names packages that are gone.
  await inRoot(folder, ['apt-get', 'update'], 3);
  await inRoot(folder, [...apt, '--no-install-recommends', 'install', ...packages], 3);
  await inRoot(folder, ['sh', '-c', 'apt-get clean; rm -rf /var/lib/apt/lists/*'], 1);
  // Where the data of the one server that uses this root is seen, in a mount namespace of its own.
  await mkdir(join(folder, 'data'), { recursive: true });
  return await run('chroot', [folder, 'dpkg-query', '-W', '-f', upstreamVersion, packages[0]]);
}

/** Installs packages on the machine itself: only tools, never a service. */
export async function installOnMachine(...packages: string[]): Promise<void> {
  await run('apt-get', ['update', '-o', 'DPkg::Lock::Timeout=300'], { attempts: 3 });
  const [command, ...args] = [...apt, '--no-install-recommends', 'install', ...packages];
  await run(command!, args, { attempts: 3, env: noninteractive });
}

async function baseRoot(suite: string): Promise<string> {
  return await installOnce(join(cacheFolder(), `debian-${suite}`), async (folder) => {
    if (!hasCommand('debootstrap')) await installOnMachine('debootstrap');
    // debootstrap mounts /proc inside the new root; in a mount namespace of its own it cannot leave it there.
    await run('unshare', ['--mount', 'debootstrap', '--variant=minbase', suite, folder], { attempts: 3 });
    await writeFile(join(folder, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    await writeFile(join(folder, 'etc/dpkg/dpkg.cfg.d/fleet'), 'force-unsafe-io\npath-exclude=/usr/share/doc/*\n');
    return suite;
  });
}

async function copyNetworkSettings(folder: string): Promise<void> {
  for (const file of ['etc/resolv.conf', 'etc/hosts']) {
    await cp(join('/', file), join(folder, file), { dereference: true, force: true });
  }
}

async function inRoot(folder: string, command: readonly string[], attempts: number): Promise<void> {
  const script = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"';
  await run('unshare', ['--mount', 'sh', '-c', script, folder, ...command], { attempts, env: noninteractive });
}
