import { type Fifo, fifo } from '../consume/fifo.ts';

/** How much may wait or be in flight at once; beyond it `publish` waits, to its deadline. */
export interface Buffer {
  readonly messages: number;
  readonly bytes: number;
}

export interface Entrant {
  readonly bytes: number;
  /** Whether it has stopped waiting; then it is passed over. */
  gone(): boolean;
  go(): void;
}

export interface Room {
  /** Calls `go` at once, or when there is room, in order. */
  enter(entrant: Entrant): void;
  /** Gives back the room of one that entered. */
  leave(bytes: number): void;
}

export function createRoom(buffer: Buffer): Room {
  let messages = 0;
  let bytes = 0;
  const waiting: Fifo<Entrant> = fifo();
  const fits = (more: number): boolean =>
    messages === 0 || (messages < buffer.messages && bytes + more <= buffer.bytes);

  function admit(entrant: Entrant): void {
    messages += 1;
    bytes += entrant.bytes;
    entrant.go();
  }

  return {
    enter(entrant) {
      if (waiting.size === 0 && fits(entrant.bytes)) admit(entrant);
      else waiting.push(entrant);
    },
    leave(size) {
      messages -= 1;
      bytes -= size;
      for (let next = waiting.peek(); next !== undefined; next = waiting.peek()) {
        const gone = next.gone();
        if (!gone && !fits(next.bytes)) return;
        waiting.shift();
        if (!gone) admit(next);
      }
    },
  };
}
