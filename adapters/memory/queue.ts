/** What stands in line: in order of `seq`. */
export interface Queued {
  readonly seq: number;
}

/** A first-in, first-out line to which what was taken can return at its old place. */
export interface Queue<T extends Queued> {
  readonly length: number;
  first(): T | undefined;
  /** To the end: `seq` must be above all others. */
  push(item: T): void;
  /** Up to `limit` from the front. */
  take(limit: number): T[];
  /** Back to the place that its `seq` says, which is the front unless something older returned before. */
  putBack(item: T): void;
}

export function queue<T extends Queued>(): Queue<T> {
  let items: T[] = [];
  // Taking moves this index: `Array.shift` on a long line copies all of it.
  let head = 0;

  return {
    get length() {
      return items.length - head;
    },
    first: () => items[head],
    push(item) {
      items.push(item);
    },
    take(limit) {
      const taken = items.slice(head, head + limit);
      head += taken.length;
      if (head > 1024 && head > items.length / 2) {
        items = items.slice(head);
        head = 0;
      }
      return taken;
    },
    putBack(item) {
      let low = head;
      let high = items.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (items[middle]!.seq < item.seq) low = middle + 1;
        else high = middle;
      }
      if (low === head && head > 0) {
        head -= 1;
        items[head] = item;
      } else {
        items.splice(low, 0, item);
      }
    },
  };
}
