import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { type RedisOptions, redis } from '../../adapters/redis/index.ts';
import type { AdapterEvent, AdapterHooks, BrokerAdapter } from '../../src/port.ts';
import { hooksOf } from './port-harness.ts';

/** Opens adapters, proxies and raw clients for one test file, and closes them all. */
export interface Bench {
  adapter(
    options?: Partial<RedisOptions>,
    events?: AdapterEvent[],
    hooks?: Partial<AdapterHooks>,
  ): Promise<BrokerAdapter>;
  proxy(): Promise<Proxy>;
  raw(): Redis;
  close(): Promise<void>;
}

export function benchOf(url: () => string): Bench {
  const closers: (() => unknown)[] = [];
  return {
    async adapter(options, events, hooks) {
      const adapter = redis({ url: url(), ...options });
      closers.push(() => adapter.close());
      await adapter.connect(hooksOf(events, hooks));
      return adapter;
    },
    async proxy() {
      const proxy = await openProxy(url());
      closers.push(() => proxy.close());
      return proxy;
    },
    raw() {
      const client = new Redis(url(), { protocol: 2 });
      client.on('error', () => {});
      closers.push(() => client.disconnect());
      return client;
    },
    async close() {
      for (const close of closers.splice(0)) await close();
    },
  };
}

/** As 702 for 7.2.1. */
export async function versionAt(url: string): Promise<number> {
  const raw = new Redis(url, { protocol: 2 });
  const [, major, minor] = /redis_version:(\d+)\.(\d+)/.exec(await raw.info('server'))!;
  raw.disconnect();
  return Number(major) * 100 + Number(minor);
}

/** A TCP proxy before a server, which can fail as networks do. */
export interface Proxy {
  readonly url: string;
  /** Breaks every connection and takes no new one until `open`. */
  shut(): void;
  /** Connections stay open, and nothing passes, until `open`. */
  freeze(): void;
  /** The next reply is not passed on: its connection breaks instead. What was asked has been done. */
  cutNextReply(): void;
  open(): void;
  close(): Promise<void>;
}

async function openProxy(url: string): Promise<Proxy> {
  const { hostname, port } = new URL(url);
  const pairs = new Set<[Socket, Socket]>();
  let state: 'open' | 'shut' | 'frozen' = 'open';
  let cut = false;
  const server: Server = createServer((client) => {
    const target = createConnection(Number(port), hostname);
    const pair: [Socket, Socket] = [client, target];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    if (state === 'shut') return end();
    client.on('data', (data) => target.write(data));
    target.on('data', (data) => {
      if (cut) {
        cut = false;
        end();
      } else client.write(data);
    });
    if (state === 'frozen') for (const socket of pair) socket.pause();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  const destroyAll = () => {
    for (const [client, target] of [...pairs]) {
      client.destroy();
      target.destroy();
    }
  };
  return {
    url: `redis://127.0.0.1:${address.port}`,
    shut() {
      state = 'shut';
      destroyAll();
    },
    freeze() {
      state = 'frozen';
      for (const socket of [...pairs].flat()) socket.pause();
    },
    cutNextReply() {
      cut = true;
    },
    open() {
      state = 'open';
      for (const socket of [...pairs].flat()) socket.resume();
    },
    async close() {
      destroyAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
