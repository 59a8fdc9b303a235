/** What a packed batch is made of. */
export type Packable = string | number | Uint8Array | readonly Packable[];

/**
 * Packs values as MessagePack, which Redis' Lua unpacks by `cmsgpack.unpack`: one argument instead of thousands, each of
 * which ioredis would copy into a buffer of its own. Numbers are whole, from 0 to 2^53.
 */
export function pack(value: Packable, sizeHint: number): Buffer {
  let buffer = Buffer.allocUnsafe(sizeHint);
  let at = 0;

  function room(bytes: number): void {
    if (at + bytes <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(buffer.length * 2, at + bytes));
    buffer.copy(larger, 0, 0, at);
    buffer = larger;
  }
  function length(bytes: number): void {
    buffer[at] = 0xdb;
    buffer.writeUInt32BE(bytes, at + 1);
    at += 5;
  }
  function write(item: Packable): void {
    if (typeof item === 'string') {
      // No character takes more than three bytes of UTF-8 per UTF-16 unit.
      room(5 + item.length * 3);
      const bytes = buffer.write(item, at + 5);
      length(bytes);
      at += bytes;
    } else if (typeof item === 'number') {
      room(9);
      buffer[at] = 0xcf;
      buffer.writeBigUInt64BE(BigInt(item), at + 1);
      at += 9;
    } else if (item instanceof Uint8Array) {
      room(5 + item.length);
      length(item.length);
      buffer.set(item, at);
      at += item.length;
    } else {
      room(5);
      buffer[at] = 0xdd;
      buffer.writeUInt32BE(item.length, at + 1);
      at += 5;
      for (const one of item) write(one);
    }
  }

  write(value);
  return buffer.subarray(0, at);
}
