/** A queue whose ends cost the same however long it is. */
export interface Fifo<T> {
  readonly size: number;
  push(item: T): void;
  unshift(item: T): void;
  shift(): T | undefined;
  /** What `shift` would take. */
  peek(): T | undefined;
  /** Takes out all that `drop` names. */
  remove(drop: (item: T) => boolean): void;
}

export function fifo<T>(): Fifo<T> {
  let items: (T | undefined)[] = [];
  let head = 0;
  return {
    get size() {
      return items.length - head;
    },
    push: (item) => void items.push(item),
    unshift(item) {
      if (head > 0) {
        head -= 1;
        items[head] = item;
      } else items.unshift(item);
    },
    shift() {
      if (head === items.length) return undefined;
      const item = items[head];
      items[head] = undefined;
      head += 1;
      if (head === items.length || head > 1024) {
        items = items.slice(head);
        head = 0;
      }
      return item;
    },
    peek: () => items[head],
    remove(drop) {
      items = items.slice(head).filter((item) => !drop(item as T));
      head = 0;
    },
  };
}
