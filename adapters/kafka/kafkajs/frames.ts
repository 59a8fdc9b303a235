/** Before each answer stands its length. */
const LENGTH_BYTES = 4;

/**
 * Passes on whole answers only. kafkajs 2.2.4 keeps the beginning of an answer whose connection has ended, and reads the
 * next connection's bytes as its continuation: answers get lost from then on, or an error that nobody can catch ends the
 * process (`src/network/connection.js`, `processData`). What has no length is no answer: `broken` is told, and no more
 * is passed on.
 */
export function wholeFrames(pass: (data: Buffer) => void, broken: () => void): (data: Buffer) => void {
  let chunks: Buffer[] = [];
  let heldBytes = 0;
  let neededBytes = LENGTH_BYTES;

  return (data) => {
    chunks.push(data);
    heldBytes += data.length;
    if (heldBytes < neededBytes) return;
    const held = chunks.length === 1 ? data : Buffer.concat(chunks, heldBytes);
    let end = 0;
    neededBytes = LENGTH_BYTES;
    while (held.length - end >= neededBytes) {
      const lengthBytes = held.readInt32BE(end);
      if (lengthBytes < 0) {
        neededBytes = Number.POSITIVE_INFINITY;
        return broken();
      }
      if (held.length - end < LENGTH_BYTES + lengthBytes) {
        neededBytes = LENGTH_BYTES + lengthBytes;
        break;
      }
      end += LENGTH_BYTES + lengthBytes;
    }
    const rest = held.subarray(end);
    chunks = rest.length === 0 ? [] : [rest];
    heldBytes = rest.length;
    if (end > 0) pass(held.subarray(0, end));
  };
}
