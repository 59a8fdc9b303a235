import type { Delivery, Priority } from '../../src/port.ts';
import { fromFields } from './headers.ts';

/** A stream entry as Redis answers it; an entry that was deleted while pending has no fields. */
export type Entry = readonly [id: Buffer, fields: readonly Buffer[] | null];

/** The adapter's own part of a delivery. */
export interface Handle {
  /** Lane and shard, as in the stream's name. */
  readonly suffix: string;
  readonly entryId: string;
  /** Fencing token of an ordered group's shard; '' where entries are leased one by one. */
  readonly token: string;
}

/** One stream as one source reads it. */
export interface Stream {
  readonly key: string;
  readonly suffix: string;
  readonly lane: Priority;
  readonly shard: number;
  /** Delivered and not settled, by entry id. */
  readonly inFlight: Map<string, Delivery>;
  /** The newest entry that was read. */
  cursor: string;
  /** Replies may have been lost: what is pending for us after `cursor` is read before anything new. */
  catchUp: boolean;
}

export function newStream(base: string, suffix: string, lane: Priority, shard: number): Stream {
  return { key: `${base}:${suffix}`, suffix, lane, shard, inFlight: new Map(), cursor: '0-0', catchUp: false };
}

export interface Arrival {
  readonly epoch: number;
  readonly token: string;
  readonly redelivered: boolean;
  readonly suspect: (entryId: string) => boolean;
}

/** Turns entries into deliveries that are in flight; skips those that are already, and those that are gone. */
export function takeOff(stream: Stream, entries: readonly Entry[], arrival: Arrival): Delivery[] {
  const deliveries: Delivery[] = [];
  for (const [id, fields] of entries) {
    const entryId = id.toString('latin1');
    if (fields === null || stream.inFlight.has(entryId)) continue;
    const handle: Handle = { suffix: stream.suffix, entryId, token: arrival.token };
    const delivery: Delivery = {
      message: fromFields(fields),
      lane: stream.lane,
      shard: stream.shard,
      epoch: arrival.epoch,
      redelivered: arrival.redelivered,
      suspect: arrival.suspect(entryId),
      position: `${stream.key}/${entryId}`,
      handle,
    };
    stream.inFlight.set(entryId, delivery);
    deliveries.push(delivery);
  }
  return deliveries;
}

/** Which lanes are held back. */
export interface Pauses {
  pause(lane?: Priority): void;
  resume(lane?: Priority): void;
  has(lane: Priority): boolean;
}
export function newPauses(): Pauses {
  const paused = new Set<Priority>();
  const all: readonly Priority[] = ['high', 'normal', 'low'];
  return {
    pause(lane) {
      for (const one of lane === undefined ? all : [lane]) paused.add(one);
    },
    resume(lane) {
      for (const one of lane === undefined ? all : [lane]) paused.delete(one);
    },
    has: (lane) => paused.has(lane),
  };
}

/** Lets a loop sleep until something changes. */
export interface Alarm {
  ring(): void;
  /** Whether it rang since the last `reset` or wait. */
  readonly rung: boolean;
  reset(): void;
  /** Resolves at the next ring, at once if it rang since the last wait, or after `limitMs`. */
  wait(limitMs: number): Promise<void>;
}
export function newAlarm(): Alarm {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    get rung() {
      return rung;
    },
    reset() {
      rung = false;
    },
    ring() {
      rung = true;
      wake?.();
    },
    async wait(limitMs) {
      if (!rung) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          timer = setTimeout(resolve, limitMs);
        });
        clearTimeout(timer);
        wake = undefined;
      }
      rung = false;
    },
  };
}
