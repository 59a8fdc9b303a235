import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type { Weather } from './proxy-weather.ts';

/** One direction of one connection. */
export interface Pipe {
  /** From now on nothing that this side sends arrives, its FIN neither. For good: a stream with a gap is of no use. */
  deafen(): void;
  /** Whether it still passes anything on. */
  readonly deaf: boolean;
  /** Ends the loop; both sockets are the caller's to close. */
  stop(): void;
}

type Item = { readonly arrivedAt: number; readonly luck: number; readonly what: Buffer | 'fin' | 'rst' };

/** Above it we stop reading, so that a sender behind a slow pipe feels it. */
const mostQueuedBytes = 1024 * 1024;

/**
 * Passes on what `from` sends to `to`: bytes, FIN and RST, in order, as the weather allows. While `breaksOff()`, it
 * closes both in the middle of the next bytes.
 */
export function pipe(
  from: Socket,
  to: Socket,
  weather: Weather,
  onData: (data: Buffer) => void,
  breaksOff: () => boolean = () => false,
): Pipe {
  const queue: Item[] = [];
  let queuedBytes = 0;
  let deaf = false;
  let stopped = false;
  let running = false;

  from.on('data', (data: Buffer) => {
    onData(data);
    queuedBytes += data.length;
    if (queuedBytes > mostQueuedBytes) from.pause();
    add(data);
  });
  from.on('end', () => add('fin'));
  from.on('error', () => add('rst'));

  function add(what: Item['what']): void {
    queue.push({ arrivedAt: performance.now(), luck: Math.random(), what });
    if (!running) void run();
  }

  async function run(): Promise<void> {
    running = true;
    for (let item = queue.shift(); item && !stopped; item = queue.shift()) {
      await passable(item.arrivedAt, item.luck);
      if (Buffer.isBuffer(item.what)) {
        const half = breaksOff() && !deaf;
        await pass(half ? item.what.subarray(0, Math.ceil(item.what.length / 2)) : item.what);
        if (half) return breakOff();
        queuedBytes -= item.what.length;
        if (queuedBytes <= mostQueuedBytes) from.resume();
      } else if (!deaf && !stopped) {
        if (item.what === 'fin') to.end();
        else to.resetAndDestroy();
      }
    }
    running = false;
  }

  function breakOff(): void {
    stopped = true;
    from.destroySoon();
    to.destroySoon();
  }

  async function passable(arrivedAt: number, luck: number): Promise<void> {
    for (;;) {
      const leftMs = arrivedAt + weather.delayMs + luck * weather.jitterMs - performance.now();
      if (stopped || deaf || (!weather.held && leftMs <= 0)) return;
      await weather.wait(weather.held ? Number.POSITIVE_INFINITY : leftMs);
    }
  }

  async function pass(data: Buffer): Promise<void> {
    for (let start = 0; start < data.length; ) {
      if (weather.held) await passable(0, 0);
      if (deaf || stopped || !to.writable) return;
      const { bytesPerSecond, pieceBytes } = weather;
      // A twentieth of a second's worth at a time: smooth, and without a timer per byte.
      const size = Math.min(data.length - start, pieceBytes, Math.max(1, Math.ceil(bytesPerSecond / 20)));
      const flowing = to.write(data.subarray(start, start + size));
      start += size;
      if (Number.isFinite(bytesPerSecond)) await weather.wait((size / bytesPerSecond) * 1000);
      else if (Number.isFinite(pieceBytes)) await turn();
      if (!flowing) await drained();
    }
  }

  function drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        to.off('drain', done).off('close', done);
        resolve();
      };
      if (to.writableNeedDrain) to.on('drain', done).on('close', done);
      else resolve();
    });
  }

  return {
    deafen() {
      deaf = true;
      weather.changed();
    },
    get deaf() {
      return deaf;
    },
    stop() {
      stopped = true;
      weather.changed();
    },
  };
}
