import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory } from 'kafkajs';
import { wholeFrames } from './frames.ts';

const KEEP_ALIVE_MS = 60_000;
/** A request begins with its length (4 bytes) and its API key (2 bytes); Produce is key 0. */
const API_KEY_AT = 4;
const PRODUCE = 0;

/** The sockets of one kafkajs client, in our hands. */
export interface Sockets {
  readonly factory: ISocketFactory;
  /** Produce requests that were given to a socket so far. */
  produced(): number;
  /**
   * Closes those to an address (`host:port`) where a request has had no answer in time. kafkajs keeps such a connection
   * and sends the next request into the same silence; closed, it opens another.
   */
  silent(address: string): void;
  /** Destroys all of them, and lets no other be opened: kafkajs's own retries would reconnect even after `disconnect`. */
  kill(): void;
}

/** `ended` is called when they are killed. */
export function ownSockets(ended: () => void): Sockets {
  /** With the address of each. */
  const open = new Map<net.Socket, string>();
  let produced = 0;
  let killed = false;

  const factory: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    if (killed) return stillborn();
    const socket = ssl
      ? tls.connect({ host, port, ...(net.isIP(host) ? {} : { servername: host }), ...(ssl as object) }, onConnect)
      : net.connect({ host, port }, onConnect);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setNoDelay(true);
    open.set(socket, `${host}:${port}`);
    socket.once('close', () => open.delete(socket));
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
    socket.write = ((data: Buffer, ...rest: unknown[]) => {
      if (Buffer.isBuffer(data) && data.length > 6 && data.readInt16BE(API_KEY_AT) === PRODUCE) produced++;
      return write(data, ...rest);
    }) as typeof socket.write;
    const on = socket.on.bind(socket) as (event: string, listener: (...args: never[]) => void) => net.Socket;
    const foreign = (): void => void socket.destroy(new Error(`what answers at ${host}:${port} is no Kafka broker`));
    socket.on = ((event: string, listener: (...args: never[]) => void) =>
      on(event, event === 'data' ? wholeFrames(listener as (data: Buffer) => void, foreign) : listener)) as typeof on;
    return socket;
  };

  return {
    factory,
    produced: () => produced,
    silent(address) {
      for (const [socket, to] of open) if (to === address) socket.destroy(new Error('the broker does not answer'));
    },
    kill() {
      if (killed) return;
      killed = true;
      ended();
      for (const socket of open.keys()) socket.destroy(new Error('closed by this client'));
    },
  };
}

/** Fails once its owner has attached its listeners. */
function stillborn(): net.Socket {
  const socket = new net.Socket();
  process.nextTick(() => socket.destroy(new Error('closed by this client')));
  return socket;
}
