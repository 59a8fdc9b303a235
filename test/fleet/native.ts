import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runFolder } from './guarding.ts';
import { installedVersion } from './install-once.ts';
import { dataInRoot, launchServer, type Running, readLog, tailOfLog } from './launch.ts';
import { freePorts } from './ports.ts';
import { descendantsOf, isAlive, isStopped, signal, signalAll, until } from './processes.ts';
import type { Launch, Recipe } from './recipe.ts';
import type { Kind } from './releases.ts';
import type { Server, ServerOptions } from './server.ts';

const readyWithinMs = 120_000;
const goneWithinMs = 20_000;

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
    const { config = {}, listeners = [] } = options;
    const version = installedVersion(installed);
    const launch = recipe.launch({ installed, version, data: seen, ports, config, listeners });
    const env = { ...launch.env, ...options.env };
    const server = nativeServer({ kind, recipe, installed, folder, launch: { ...launch, env } });
    try {
      await server.restart();
      return server;
    } catch (error) {
      const log = await readLog(folder);
      await server.stop();
      // Between our finding a port free and the server's own bind, another run may have taken it.
      if (attempt === 3 || !/address already in use|eaddrinuse|in use by/i.test(log)) throw error;
    }
  }
}

interface Parts {
  readonly kind: Kind;
  readonly recipe: Recipe;
  readonly installed: string;
  readonly folder: string;
  readonly launch: Launch;
}

function nativeServer({ kind, recipe, installed, folder, launch }: Parts): Server {
  let running: Running | undefined;

  async function start(): Promise<void> {
    for (const [name, text] of Object.entries(launch.files)) await writeFile(join(folder, 'data', name), text);
    const server = await launchServer({ folder, installed }, recipe, launch);
    running = server;
    let ready = false;
    await until(async () => {
      ready = await launch.isReady(await readLog(folder));
      return ready || !server.isAlive();
    }, readyWithinMs);
    if (ready) return;
    const what = server.isAlive() ? `was not ready after ${readyWithinMs} ms` : 'ended before it was ready';
    await kill();
    throw new Error(`${kind} at ${launch.url} ${what}; the last lines of its log:\n${await tailOfLog(folder)}`);
  }

  async function kill(): Promise<void> {
    if (running?.isAlive()) signal(running.pid, 'SIGKILL');
    if (running) await gone(running);
  }

  async function end(): Promise<void> {
    if (!running?.isAlive()) return await kill();
    signalAll(running.pid, 'SIGCONT');
    signal(running.pid, recipe.stopSignal);
    if (await until(() => !running?.isAlive(), goneWithinMs)) await gone(running);
    else await kill();
  }

  async function gone(server: Running): Promise<void> {
    if (!(await until(() => !server.isAlive(), goneWithinMs))) {
      throw new Error(`${kind} at ${launch.url} (process ${server.pid}) still runs ${goneWithinMs} ms after SIGKILL`);
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
      return running?.isAlive() ? running.pid : undefined;
    },
    kill,
    async restart() {
      await end();
      await start();
    },
    async pause() {
      if (!running?.isAlive()) throw new Error(`cannot pause ${kind} at ${launch.url}: it is not running`);
      const { pid } = running;
      signalAll(pid, 'SIGSTOP');
      const moving = () => [pid, ...descendantsOf(pid)].filter((each) => isAlive(each) && !isStopped(each));
      await until(() => moving().length === 0, goneWithinMs);
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
