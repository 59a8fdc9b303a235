/** How much may wait or be in flight at once; beyond it `publish` waits, to its deadline. */
export interface Buffer {
  readonly messages: number;
  readonly bytes: number;
}

export interface Room {
  /** Calls `go` at once, or when there is room, in order. */
  enter(bytes: number, go: () => void): void;
  /** Gives back the room of one that entered, or takes one that still waits out of the count. */
  leave(bytes: number): void;
}

export function createRoom(buffer: Buffer): Room {
  let messages = 0;
  let bytes = 0;
  const waiting: { bytes: number; go: () => void }[] = [];
  const fits = (more: number): boolean =>
    messages === 0 || (messages < buffer.messages && bytes + more <= buffer.bytes);

  function admit(entry: { bytes: number; go: () => void }): void {
    messages += 1;
    bytes += entry.bytes;
    entry.go();
  }

  return {
    enter(size, go) {
      const entry = { bytes: size, go };
      if (waiting.length === 0 && fits(size)) admit(entry);
      else waiting.push(entry);
    },
    leave(size) {
      messages -= 1;
      bytes -= size;
      while (waiting.length > 0 && fits(waiting[0]!.bytes)) admit(waiting.shift()!);
    },
  };
}
