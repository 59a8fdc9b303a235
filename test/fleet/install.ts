import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCommand, run } from './command.ts';
import { buildDebianRoot } from './debian-root.ts';
import { installOnce, isInstalled, say } from './install-once.ts';
import { ensureCommands } from './machine-tools.ts';
import { installedFolder, type Release, releases, urlVariable } from './releases.ts';

/** Returns the folder of an installed release; installs it when that is allowed, and explains how to when it is not. */
export async function ensureInstalled(release: Release): Promise<string> {
  const folder = installedFolder(release);
  if (isComplete(release)) return folder;
  if (process.env.HOLDFAST_FLEET !== 'install') throw new Error(missing(release, folder));
  return await install(release);
}

/** Installs a release into the cache, unless it is there. */
export async function install(release: Release): Promise<string> {
  const { kind, version, from, takes } = release;
  const folder = installedFolder(release);
  if (process.getuid?.() !== 0 || !hasCommand('apt-get')) {
    const remedy = `start one yourself (compose.yaml has it) and set ${urlVariable(kind)}`;
    throw new Error(`cannot install ${kind} ${version}: this needs Debian and root; ${remedy}`);
  }
  if (from === 'maven') await ensureCommands({ java: 'default-jdk-headless', mvn: 'maven' });
  if (isInstalled(folder)) return folder;
  say(`installing ${kind} ${version} (${takes}, once)`);
  return await installOnce(folder, (building) =>
    from === 'maven' ? fetchKafka(building, version) : buildDebianRoot(building, from),
  );
}

function isComplete(release: Release): boolean {
  return isInstalled(installedFolder(release)) && (release.from !== 'maven' || hasCommand('java'));
}

const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

async function fetchKafka(folder: string, version: string): Promise<string> {
  const own = join(import.meta.dirname, 'kafka');
  await copyFile(join(own, 'log4j2.xml'), join(folder, 'log4j2.xml'));
  const goal = [`${plugin}:copy-dependencies`, `-DoutputDirectory=${join(folder, 'libs')}`, '-DincludeScope=runtime'];
  await run('mvn', ['-q', '-B', '-f', join(own, 'pom.xml'), ...goal], { attempts: 3 });
  return version;
}

function missing(release: Release, folder: string): string {
  const { kind, version } = release;
  const name = release === releases[kind][0] ? kind : `${kind}@${version}`;
  return [
    `${kind} ${version} is not installed (looked in ${folder}) and ${urlVariable(kind)} is not set.`,
    `Either install it, as root on Debian, by: node test/fleet/main.ts install ${name}`,
    `or let the tests do so by: HOLDFAST_FLEET=install npm test`,
    `or set ${urlVariable(kind)} to a server of your own, such as compose.yaml's.`,
  ].join('\n');
}
