import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { clients } from './fleet.clients.ts';
import { runFolder } from './guarding.ts';
import { type Kind, kinds, type Server, type ServerOptions, startServer } from './index.ts';
import { descendantsOf, isAlive, isStopped, signal, until } from './processes.ts';

const servers: Server[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

for (const kind of kinds) {
  it(`${kind}: serves a real client, keeps its data over kill and restart, and leaves nothing behind`, {
    timeout: 120_000,
  }, async () => {
    const server = await startOwn(kind);
    const client = clients[kind];
    await client.write(server.url, 'kept');
    expect(await client.read(server.url)).toBe('kept');
    expect(server.version).toMatch(/^\d+\.\d+/);

    await server.pause();
    expect(processesOf(server).filter((pid) => isAlive(pid) && !isStopped(pid))).toEqual([]);
    await server.resume();
    expect(await client.read(server.url)).toBe('kept');

    const killed = processesOf(server);
    await server.kill();
    expect(server.pid).toBeUndefined();
    expect(killed.filter(isAlive)).toEqual([]);

    await server.restart();
    expect(await client.read(server.url)).toBe('kept');

    const stopped = processesOf(server);
    await server.stop();
    expect(stopped.filter(isAlive)).toEqual([]);
    expect(readdirSync(runFolder())).toEqual([]);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(runFolder());
  });
}

it('killing one RabbitMQ node leaves the node beside it alone', { timeout: 120_000 }, async () => {
  const [one, other] = await Promise.all([startOwn('rabbitmq'), startOwn('rabbitmq')]);
  expect(one.url).not.toBe(other.url);
  await one.kill();
  await clients.rabbitmq.write(other.url, 'still here');
  expect(await clients.rabbitmq.read(other.url)).toBe('still here');
  const overview = await fetch(new URL('/api/overview', withoutCredentials(other.managementUrl!)), {
    headers: { authorization: `Basic ${btoa('guest:guest')}` },
  });
  expect(await overview.json()).toMatchObject({ product_name: 'RabbitMQ' });
});

it('settings and versions can be chosen', { timeout: 120_000 }, async () => {
  const server = await startOwn('redis', { config: { appendfsync: 'everysec' } });
  expect(await clients.redis.setting(server.url, 'appendfsync')).toBe('everysec');
  expect(await clients.redis.setting(server.url, 'appendonly')).toBe('yes');
  await expect(startServer('redis', { own: true, version: 5 })).rejects.toThrow('it can start redis 8, 7');
});

it('a server that cannot start is reported with its own words', { timeout: 120_000 }, async () => {
  const server = await startOwn('redis');
  const port = new URL(server.url).port;
  await expect(startServer('redis', { own: true, config: { port } })).rejects.toThrow(
    /ended before it was ready.*Address already in use/s,
  );
});

it('a missing server is reported with the commands that would provide it', async () => {
  vi.stubEnv('HOLDFAST_FLEET', undefined);
  const cache = mkdtempSync(join(tmpdir(), 'holdfast-no-cache-'));
  vi.stubEnv('HOLDFAST_FLEET_CACHE', cache);
  for (const kind of kinds) {
    const error: unknown = await startServer(kind, { own: true }).catch((reason: unknown) => reason);
    expect(String(error)).toMatch(new RegExp(`${kind} .* is not installed \\(looked in ${cache}`));
    expect(String(error)).toContain('HOLDFAST_FLEET=install npm test');
    expect(String(error)).toContain(`set HOLDFAST_${kind.toUpperCase()}_URL`);
  }
  rmSync(cache, { recursive: true });
});

it('a server named by the environment is used, and is not ours to kill', { timeout: 120_000 }, async () => {
  vi.stubEnv('HOLDFAST_REDIS_URL', 'redis://elsewhere:6379');
  const theirs = await startServer('redis');
  expect(theirs).toMatchObject({ url: 'redis://elsewhere:6379', owned: false, pid: undefined });
  for (const verb of ['kill', 'restart', 'pause', 'resume'] as const) {
    await expect(theirs[verb]()).rejects.toThrow(`cannot ${verb} the redis server of HOLDFAST_REDIS_URL`);
  }
  await theirs.stop();

  const ours = await startOwn('redis');
  expect(ours.owned).toBe(true);
  expect(ours.url).toContain('127.0.0.1');
});

it('a server ends when its starter is killed', { timeout: 120_000 }, async () => {
  const { starter, pid, folder } = await startInAnotherProcess('setInterval(() => {}, 1000)');
  expect(isAlive(pid)).toBe(true);
  starter.kill('SIGKILL');
  expect(await until(() => !isAlive(pid) && !existsSync(folder), 20_000)).toBe(true);
  expect(await until(() => !existsSync(`${folder}-ending`), 20_000)).toBe(true);
});

it('a server neither keeps its starter from ending nor outlives it', { timeout: 120_000 }, async () => {
  const { starter, pid, folder } = await startInAnotherProcess('');
  if (starter.exitCode === null) await once(starter, 'exit');
  expect(starter.exitCode).toBe(0);
  expect(await until(() => !isAlive(pid) && !existsSync(folder), 20_000)).toBe(true);
});

it('a server that died by itself is known to be down, and can be restarted', { timeout: 120_000 }, async () => {
  const server = await startOwn('redis');
  signal(server.pid!, 'SIGKILL');
  expect(await until(() => server.pid === undefined, 10_000)).toBe(true);
  await server.kill();
  await server.restart();
  expect(server.pid).toBeGreaterThan(1);
});

async function startOwn(kind: Kind, options: ServerOptions = {}): Promise<Server> {
  const server = await startServer(kind, { ...options, own: true });
  servers.push(server);
  return server;
}

function processesOf(server: Server): number[] {
  return [server.pid!, ...descendantsOf(server.pid!)];
}

async function startInAnotherProcess(thenDo: string) {
  const script = `
    const { startServer } = await import(${JSON.stringify(new URL('index.ts', import.meta.url).href)});
    const { runFolder } = await import(${JSON.stringify(new URL('guarding.ts', import.meta.url).href)});
    const server = await startServer('redis', { own: true });
    console.log(JSON.stringify({ pid: server.pid, folder: runFolder() }));
    ${thenDo}`;
  const starter = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(starter.stdout, 'data');
  const { pid, folder } = JSON.parse(String(line)) as { pid: number; folder: string };
  return { starter, pid, folder };
}

function withoutCredentials(url: string): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}
