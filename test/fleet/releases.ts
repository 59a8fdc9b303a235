import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export type Kind = 'rabbitmq' | 'kafka' | 'redis' | 'postgres' | 'mariadb';

/** One installable version of one server. */
export interface Release {
  readonly kind: Kind;
  /** The version as users ask for it, and the end of the folder's name in the cache. */
  readonly version: string;
  /** What makes it: a Debian root of its own with this package in it, or Maven's jars beside the machine's Java. */
  readonly from: DebianPackage | 'maven';
  /** What an install usually takes, for the line that says it is going on. */
  readonly takes: string;
}

export interface DebianPackage {
  /** `sid` is Debian's unstable: whatever version it has on the day of the install. */
  readonly suite: 'bookworm' | 'trixie' | 'sid';
  /** The server's own package comes first. */
  readonly packages: readonly [string, ...string[]];
}

/** The first release of each kind is what is started unless a version is asked for. */
export const releases: Readonly<Record<Kind, readonly [Release, ...Release[]]>> = {
  rabbitmq: [
    {
      kind: 'rabbitmq',
      version: '4',
      from: { suite: 'trixie', packages: ['rabbitmq-server'] },
      takes: 'about 1 minute',
    },
    {
      kind: 'rabbitmq',
      version: '3.10',
      from: { suite: 'bookworm', packages: ['rabbitmq-server'] },
      takes: 'about 1 minute',
    },
    {
      kind: 'rabbitmq',
      version: 'unstable',
      from: { suite: 'sid', packages: ['rabbitmq-server'] },
      takes: 'about 2 minutes',
    },
  ],
  kafka: [{ kind: 'kafka', version: '4.4.0', from: 'maven', takes: 'about half a minute' }],
  redis: [
    {
      kind: 'redis',
      version: '8',
      from: { suite: 'trixie', packages: ['redis-server'] },
      takes: 'about half a minute',
    },
    {
      kind: 'redis',
      version: '7',
      from: { suite: 'bookworm', packages: ['redis-server'] },
      takes: 'about half a minute',
    },
  ],
  postgres: [
    {
      kind: 'postgres',
      version: '17',
      from: { suite: 'trixie', packages: ['postgresql-17'] },
      takes: 'about half a minute',
    },
  ],
  mariadb: [
    {
      kind: 'mariadb',
      version: '10.11',
      from: { suite: 'bookworm', packages: ['mariadb-server'] },
      takes: 'about 1 minute',
    },
  ],
};

export const kinds: readonly Kind[] = Object.keys(releases) as Kind[];

/** The environment variable that names a server to use instead of starting one. */
export function urlVariable(kind: Kind): string {
  return `HOLDFAST_${kind.toUpperCase()}_URL`;
}

/** The environment variable that names the version to start where a test does not ask for one. */
export function versionVariable(kind: Kind): string {
  return `HOLDFAST_${kind.toUpperCase()}_VERSION`;
}

export function releaseOf(
  kind: Kind,
  version: string | number | undefined = process.env[versionVariable(kind)] || undefined,
): Release {
  const known: readonly Release[] = releases[kind];
  const found = version === undefined ? known[0] : known.find((release) => release.version === String(version));
  if (found) return found;
  const versions = known.map((release) => release.version).join(', ');
  throw new TypeError(`the fleet has no ${kind} ${version}; it can start ${kind} ${versions}`);
}

/** Where installed servers are kept for later runs. */
export function cacheFolder(): string {
  return resolve(process.env.HOLDFAST_FLEET_CACHE || join(homedir(), '.cache', 'holdfast', 'fleet'));
}

export function installedFolder(release: Release): string {
  return join(cacheFolder(), `${release.kind}-${release.version}`);
}
