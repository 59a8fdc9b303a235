import { connect, createServer, type Socket } from 'node:net';
import { freePorts } from './ports.ts';
import { type Pipe, pipe } from './proxy-pipe.ts';
import { createWeather, fairWeather } from './proxy-weather.ts';

export interface ProxyOptions {
  /** A URL, or `host:port`. */
  readonly target: string;
  /** @default a free one */
  readonly port?: number;
}

/** `up` is from the client to the server. */
export type Direction = 'up' | 'down';

/** A TCP proxy before a server, which fails as networks do. */
export interface FaultProxy {
  /** The target's URL (or `host:port`) with the proxy's address instead. */
  readonly url: string;
  readonly port: number;
  /** Closes every connection in good order (FIN to both sides); new ones are welcome. */
  cut(): void;
  /** Breaks every connection (RST to both sides); new ones are welcome. */
  reset(): void;
  /**
   * The connections of now stay open and lose all that is sent in a direction, FIN and RST too, as behind a router that
   * has forgotten them. They stay so after `heal`: who uses one must notice by himself. New ones work.
   */
  halfOpen(direction: Direction | 'both'): void;
  /** Everything takes so long each way, and up to `jitterMs` more. */
  delay(ms: number, jitterMs?: number): void;
  /** Per connection and direction. */
  throttle(bytesPerSecond: number): void;
  /** Passes on at most so many bytes at a time. */
  slice(bytes: number): void;
  /** Old and new connections are open and nothing passes; at `heal` all that was sent meanwhile arrives. */
  blackHole(): void;
  /**
   * The server receives whatever `sent` says yes to, and its reply is lost, with all later ones on that connection (for
   * good, as with `halfOpen('down')`). `'replies'`: says yes to anything.
   */
  swallow(sent: 'replies' | ((data: Buffer) => boolean)): void;
  /** Closes each connection (FIN to both sides) in the middle of what the server sends next on it. */
  breakOff(): void;
  /** Ends every fault. Connections that have lost bytes stay silent. */
  heal(): void;
  /** `swallowed`: on how many connections replies were lost by `swallow`, since the beginning. */
  connections(): { readonly open: number; readonly accepted: number; readonly swallowed: number };
  stop(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  readonly up: Pipe;
  readonly down: Pipe;
}

/** Listens on 127.0.0.1 and passes every connection on to `target`. */
export async function startProxy({ target, port = 0 }: ProxyOptions): Promise<FaultProxy> {
  const address = addressOf(target);
  const weather = createWeather();
  const links = new Set<Link>();
  let accepted = 0;
  let swallowed = 0;
  let breaksOff = false;
  let loses: ((data: Buffer) => boolean) | undefined;

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    accepted += 1;
    const server = connect({ host: address.hostname, port: address.port, allowHalfOpen: true, noDelay: true });
    const up = pipe(client, server, weather, (data) => {
      if (down.deaf || !loses?.(data)) return;
      swallowed += 1;
      down.deafen();
    });
    const down: Pipe = pipe(
      server,
      client,
      weather,
      () => {},
      () => breaksOff,
    );
    const link: Link = { client, server, up, down };
    links.add(link);
    const forget = () => {
      if (!client.destroyed || !server.destroyed) return;
      links.delete(link);
      up.stop();
      down.stop();
    };
    client.on('close', forget);
    server.on('close', forget);
  });
  const listenOn = port || (await freePorts(1))[0]!;
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject).listen(listenOn, '127.0.0.1', resolve);
  });

  function closeAll(how: (socket: Socket) => void): void {
    for (const { client, server, up, down } of [...links]) {
      up.stop();
      down.stop();
      how(client);
      how(server);
    }
  }

  function set(change: Partial<typeof weather>): void {
    Object.assign(weather, change);
    weather.changed();
  }

  return {
    url: address.urlAt(listenOn),
    port: listenOn,
    cut: () => closeAll((socket) => socket.destroySoon()),
    reset: () => closeAll((socket) => socket.resetAndDestroy()),
    halfOpen(direction) {
      for (const { up, down } of links) {
        if (direction !== 'down') up.deafen();
        if (direction !== 'up') down.deafen();
      }
    },
    delay: (delayMs, jitterMs = 0) => set({ delayMs, jitterMs }),
    throttle: (bytesPerSecond) => set({ bytesPerSecond }),
    slice: (pieceBytes) => set({ pieceBytes }),
    blackHole: () => set({ held: true }),
    swallow(sent) {
      loses = sent === 'replies' ? () => true : sent;
    },
    breakOff() {
      breaksOff = true;
    },
    heal() {
      breaksOff = false;
      loses = undefined;
      set(fairWeather());
    },
    connections: () => ({ open: links.size, accepted, swallowed }),
    async stop() {
      closeAll((socket) => socket.destroy());
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

function addressOf(target: string): { hostname: string; port: number; urlAt: (port: number) => string } {
  const isUrl = target.includes('://');
  const url = new URL(isUrl ? target : `tcp://${target}`);
  if (url.port === '') throw new TypeError('a proxy needs a target with a port: a URL or "host:port"');
  const at = (port: number) => {
    const own = new URL(url);
    own.host = `127.0.0.1:${port}`;
    return isUrl ? own.href : own.host;
  };
  return { hostname: url.hostname, port: Number(url.port), urlAt: at };
}
