/** One Redis, killed by SIGKILL and started again on what it has on disk. */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { RedisOptions } from 'holdfast/redis';
import { Redis } from 'ioredis';
import { now } from '../chaos/ledger-file.ts';
import { hasCommand } from '../fleet/command.ts';
import { startServer } from '../fleet/index.ts';
import { type Scene, until } from './scene.ts';

export interface RedisCase {
  readonly config: Readonly<Record<string, string>>;
  readonly options?: RedisOptions;
  /** Each fsync takes longer by so much. */
  readonly fsyncMs?: number;
}

export async function openRedis({ config, options = {}, fsyncMs }: RedisCase): Promise<Scene> {
  if (fsyncMs !== undefined && !hasCommand('strace'))
    throw new Error('a slow disk is played by strace, which is not installed: apt-get install strace');
  const server = await startServer('redis', { own: true, config });
  let slowing: ChildProcess | undefined;
  return {
    version: server.version,
    link: { via: 'redis', options: { url: server.url, ...options } },
    async prepare() {
      if (fsyncMs !== undefined) slowing = await slowDown(server.pid!, fsyncMs);
    },
    async strike() {
      const at = now();
      await server.kill();
      return at;
    },
    recover: () => server.restart(),
    found: (topic) => idsIn(server.url, topic),
    async close() {
      await server.kill();
      slowing?.kill('SIGKILL');
      await server.stop();
    },
  };
}

/** Delays each fdatasync of a process, as a disk does that is busy. Ends with it. */
async function slowDown(pid: number, byMs: number): Promise<ChildProcess> {
  const inject = `inject=fdatasync:delay_enter=${byMs * 1_000}`;
  const words = ['-qq', '-f', '-p', String(pid), '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', inject];
  const tracer = spawn('strace', words, { stdio: 'ignore' });
  await until('strace is attached', async () =>
    /TracerPid:\t[1-9]/.test(await readFile(`/proc/${pid}/status`, 'utf8')),
  );
  return tracer;
}

const GROUP = 'g';

/** Of the one group's stream. */
export async function idsIn(url: string, topic: string): Promise<readonly string[]> {
  const redis = new Redis(url);
  redis.on('error', () => undefined);
  try {
    const ids: string[] = [];
    for (let from = '-'; ; ) {
      const page = await redis.xrange(`hf:{${topic}}:${GROUP}:normal`, from, '+', 'COUNT', 1_000);
      for (const [, fields] of page)
        ids.push(fields[fields.findIndex((text, at) => at % 2 === 0 && text === 'id') + 1]!);
      if (page.length < 1_000) return ids;
      from = `(${page.at(-1)![0]}`;
    }
  } finally {
    redis.disconnect();
  }
}
