import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './command.ts';
import { installOnce } from './install-once.ts';
import { aptGet, ensureCommands, noninteractive } from './machine-tools.ts';
import type { DebianPackage } from './releases.ts';
import { cacheFolder } from './releases.ts';

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
  // Here rather than in the base, which may be old by now: outdated lists name packages that are gone.
  await inRoot(folder, [...aptGet, ...patience(suite), 'update'], 3);
  await inRoot(folder, [...aptGet, 'install', ...packages], 3);
  await inRoot(folder, ['sh', '-c', 'apt-get clean; rm -rf /var/lib/apt/lists/*'], 1);
  // Where the data of the one server that uses this root is seen, in a mount namespace of its own.
  await mkdir(join(folder, 'data'), { recursive: true });
  return await run('chroot', [folder, 'dpkg-query', '-W', '-f', upstreamVersion, packages[0]]);
}

/** Unstable's lists expire after a week, and mirrors of it lag: older ones will do. Their signatures are checked as ever. */
function patience(suite: string): readonly string[] {
  return suite === 'sid' ? ['-o', `Acquire::Min-ValidTime=${90 * 24 * 3600}`] : [];
}

async function baseRoot(suite: string): Promise<string> {
  return await installOnce(join(cacheFolder(), `debian-${suite}`), async (folder) => {
    await ensureCommands({ debootstrap: 'debootstrap' });
    const script = 'rm -rf "$1"/* && exec debootstrap --variant=minbase "$0" "$1"';
    await isolated(script, [suite, folder], 3);
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
  await isolated(script, [folder, ...command], attempts);
}

/** Runs a script in namespaces of its own, so that neither its mounts nor its processes outlive it, or us. */
async function isolated(script: string, args: readonly string[], attempts: number): Promise<void> {
  const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child'];
  const command = ['--pdeathsig', 'KILL', ...namespaces, 'sh', '-c', script, ...args];
  await run('setpriv', command, { attempts, env: noninteractive });
}
