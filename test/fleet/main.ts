// node test/fleet/main.ts redis rabbitmq     starts them, prints their URLs, stops them when it is interrupted
// node test/fleet/main.ts install [kinds]    only installs them

import { type Kind, kinds, type Server, startServer, urlVariable } from './index.ts';
import { install } from './install.ts';
import { say } from './install-once.ts';
import { releaseOf } from './releases.ts';

const [first, ...rest] = process.argv.slice(2);
if (first === undefined) {
  process.stderr.write(`usage: node test/fleet/main.ts [install] ${kinds.join(' ')}\n`);
  process.exitCode = 2;
} else if (first === 'install') {
  for (const kind of rest.length > 0 ? rest : kinds) await install(releaseOf(asKind(kind)));
} else {
  await serve([first, ...rest].map(asKind));
}

async function serve(wanted: readonly Kind[]): Promise<void> {
  const interrupted = new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  // A pending promise does not keep the process alive; a timer does.
  const alive = setInterval(() => {}, 60_000);
  const servers = await Promise.all(wanted.map(startAndPrint));
  say('ready; interrupt to stop');
  await interrupted;
  await Promise.all(servers.map((server) => server.stop()));
  clearInterval(alive);
}

async function startAndPrint(kind: Kind): Promise<Server> {
  const server = await startServer(kind, { own: true });
  process.stdout.write(`export ${urlVariable(kind)}=${server.url}\n`);
  if (server.managementUrl) process.stdout.write(`export HOLDFAST_RABBITMQ_MANAGEMENT_URL=${server.managementUrl}\n`);
  return server;
}

function asKind(name: string): Kind {
  const kind = kinds.find((each) => each === name);
  if (!kind) throw new TypeError(`the fleet has no "${name}"; it has ${kinds.join(', ')}`);
  return kind;
}
