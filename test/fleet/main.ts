// node test/fleet/main.ts redis rabbitmq@3.10   starts them, prints their URLs, stops them when it is interrupted
// node test/fleet/main.ts install [kinds]       only installs them

import { kinds, type Server, startServer, urlVariable } from './index.ts';
import { install } from './install.ts';
import { say } from './install-once.ts';
import { type Release, releaseOf } from './releases.ts';

try {
  await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}

async function main([first, ...rest]: readonly string[]): Promise<void> {
  if (first === undefined) throw new TypeError(`usage: node test/fleet/main.ts [install] ${kinds.join(' ')}`);
  if (first !== 'install') return await serve([first, ...rest].map(asRelease));
  for (const name of rest.length > 0 ? rest : kinds) await install(asRelease(name));
}

async function serve(wanted: readonly Release[]): Promise<void> {
  const servers: Server[] = [];
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
    process.exit(); // one that is still being started is ended by the guard
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  await Promise.all(
    wanted.map(async ({ kind, version }) => {
      const server = await startServer(kind, { own: true, version });
      servers.push(server);
      print(server);
    }),
  );
  say('ready; interrupt to stop');
  setInterval(() => {}, 60_000); // the servers themselves do not keep this process alive
}

function print({ kind, url, managementUrl }: Server): void {
  process.stdout.write(`export ${urlVariable(kind)}=${url}\n`);
  if (managementUrl) process.stdout.write(`export HOLDFAST_RABBITMQ_MANAGEMENT_URL=${managementUrl}\n`);
}

/** `redis`, or `redis@7`. */
function asRelease(name: string): Release {
  const [kind, version] = name.split('@');
  const known = kinds.find((each) => each === kind);
  if (!known) throw new TypeError(`the fleet has no "${kind}"; it has ${kinds.join(', ')}`);
  return releaseOf(known, version);
}
