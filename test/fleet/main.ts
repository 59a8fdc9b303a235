// node test/fleet/main.ts redis rabbitmq     starts them, prints their URLs, stops them when it is interrupted
// node test/fleet/main.ts install [kinds]    only installs them

import { type Kind, kinds, type Server, startServer, urlVariable } from './index.ts';
import { install } from './install.ts';
import { say } from './install-once.ts';
import { releaseOf } from './releases.ts';

try {
  await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}

async function main([first, ...rest]: readonly string[]): Promise<void> {
  if (first === undefined) throw new TypeError(`usage: node test/fleet/main.ts [install] ${kinds.join(' ')}`);
  if (first !== 'install') return await serve([first, ...rest].map(asKind));
  for (const kind of rest.length > 0 ? rest : kinds) await install(releaseOf(asKind(kind)));
}

async function serve(wanted: readonly Kind[]): Promise<void> {
  const servers: Server[] = [];
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
    process.exit(); // one that is still being started is ended by the guard
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  await Promise.all(
    wanted.map(async (kind) => {
      const server = await startServer(kind, { own: true });
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

function asKind(name: string): Kind {
  const kind = kinds.find((each) => each === name);
  if (!kind) throw new TypeError(`the fleet has no "${name}"; it has ${kinds.join(', ')}`);
  return kind;
}
