import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runFolder } from './guarding.ts';
import { installedVersion } from './install-once.ts';
import { dataInRoot, launchServer, logOf, type Running } from './launch.ts';
import { freePorts } from './ports.ts';
import { descendantsOf, isAlive, signal, until } from './processes.ts';
import type { Launch, Recipe } from './recipe.ts';
import type { Kind } from './releases.ts';
import type { Server, ServerOptions } from './server.ts';

const readyWithinMs = 120_000;
const stopWithinMs = 20_000;

let started = 0;

/** Starts an installed server as processes of this machine and waits until it serves clients. */
export async function startNative(
  kind: Kind,
  recipe: Recipe,
  installed: string,
  options: ServerOptions,
): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const folder = join(runFolder(), `${kind}-${++started}`);
    const data = join(folder, 'data');
    await mkdir(data, { recursive: true });
    const ports = await freePorts(recipe.ports);
    const seen = recipe.user ? dataInRoot : data;
    const launch = recipe.launch({ installed, data: seen, ports, config: options.config ?? {} });
    const server = nativeServer({ kind, recipe, installed, folder, launch, env: options.env ?? {} });
    try {
      await server.restart();
      return server;
    } catch (error) {
      const log = await readLog(folder);
      await server.stop();
      // Between the moment we found a port free and the server's own bind, another run may have taken it.
      if (attempt === 3 || !/address already in use|eaddrinuse|already in use by/i.test(log)) throw error;
    }
  }
}

interface Parts {
  readonly kind: Kind;
  readonly recipe: Recipe;
  readonly installed: string;
  readonly folder: string;
  readonly launch: Launch;
  readonly env: Readonly<Record<string, string>>;
}

function nativeServer({ kind, recipe, installed, folder, launch, env }: Parts): Server {
  let running: Running | undefined;

  const isRunning = () => running !== undefined && isAlive(running.pid);

  async function start(): Promise<void> {
    for (const [name, text] of Object.entries(launch.files)) await writeFile(join(folder, 'data', name), text);
    running = await launchServer(folder, installed, recipe, launch, env);
    let ready = false;
    await until(async () => {
      ready = await launch.isReady(await readLog(folder));
      return ready || !isRunning();
    }, readyWithinMs);
    if (ready) return;
    const what = isRunning() ? `did not become ready within ${readyWithinMs} ms` : 'ended before it was ready';
    const tail = (await readLog(folder)).trim().split('\n').slice(-20).join('\n');
    await kill();
    throw new Error(`${kind} at ${launch.url} ${what}; the last lines of its log:\n${tail}`);
  }

  async function kill(): Promise<void> {
    const { leader, pid } = running ?? {};
    if (leader?.pid === undefined || pid === undefined) return;
    if (isAlive(leader.pid) || isAlive(pid)) signal(-leader.pid, 'SIGKILL');
    await gone(leader.pid, pid);
  }

  async function end(): Promise<void> {
    if (!running || !isRunning()) return await kill();
    const { leader, pid } = running;
    signalAll(pid, 'SIGCONT');
    signal(pid, recipe.stopSignal);
    if (await until(() => !isAlive(pid), stopWithinMs)) await gone(leader.pid!, pid);
    else await kill();
  }

  async function gone(...pids: number[]): Promise<void> {
    if (!(await until(() => !pids.some(isAlive), stopWithinMs))) {
      throw new Error(`${kind} (process ${pids.join(', ')}) is still there ${stopWithinMs} ms after it was ended`);
    }
    running = undefined;
    await rm(join(folder, 'pid'), { force: true });
  }

  return {
    kind,
    url: launch.url,
    ...(launch.managementUrl && { managementUrl: launch.managementUrl }),
    version: installedVersion(installed),
    owned: true,
    get pid() {
      return isRunning() ? running?.pid : undefined;
    },
    kill,
    async restart() {
      await end();
      await start();
    },
    async pause() {
      if (!running || !isRunning()) throw new Error(`cannot pause ${kind} at ${launch.url}: it is not running`);
      signalAll(running.pid, 'SIGSTOP');
    },
    async resume() {
      if (running) signalAll(running.pid, 'SIGCONT');
    },
    async stop() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Signals the group and what has left it: PostgreSQL's sessions, for one, are each a group of their own. */
function signalAll(pid: number, name: NodeJS.Signals): void {
  // Parents first: who is stopped starts no more children, so the second look finds any that were just starting.
  for (let look = 0; look < 2; look++) {
    for (const each of [pid, ...descendantsOf(pid)]) signal(each, name);
  }
}

async function readLog(folder: string): Promise<string> {
  return await readFile(logOf(folder), 'utf8').catch(() => '');
}
