import type { Delivery, Headers } from '../../src/port.ts';
import type { KafkaRecord, Place } from './client.ts';

/** One record between its fetch and its settlement. */
export interface Entry {
  readonly share: Share;
  readonly offset: number;
  /** Given up when it is done, so that a record that holds up the watermark does not hold the bodies behind it. */
  record: KafkaRecord | undefined;
  done: boolean;
  /** The delivery that is out; an older one of the same entry settles nothing. */
  delivery: Delivery | undefined;
  /** Handed out by us; once suspected stays suspected, however often it is given back. */
  seen: boolean;
  /** Handed out before, by us or by a former owner. */
  redelivered: boolean;
  suspect: boolean;
}

/** A partition while it is ours. */
export interface Share extends Place {
  /** Unique to this ownership. */
  readonly epoch: number;
  /** Of a ladder; undefined on lanes. */
  readonly rung: number | undefined;
  live: boolean;
  /** Known where its handing out stood when it was taken over; nothing is handed out before. */
  opened: boolean;
  opening: boolean;
  /** Fetched and not done, and done behind such a one, by offset. Entries before `head` are settled. */
  track: Entry[];
  head: number;
  /** Where the next fetch begins. */
  position: number | undefined;
  committed: number | undefined;
  /** Ready to be handed out, by offset. */
  queue: Entry[];
  /** On a rung: not due yet, by offset. */
  resting: Entry[];
  handedOutTo: number;
  /** Of unsettled records, by offset: they replace the record's own, and travel with the commits. */
  readonly marks: Map<number, Headers>;
  /** Records that count as suspects until this many have been handed out, and as redelivered up to an offset. */
  suspects: number;
  redeliveredTo: number;
  paused: boolean;
  drained: PromiseWithResolvers<void> | undefined;
}

/** Of one partition, settled or not: what a stuck record lets pile up behind it, and would be redelivered. */
const MOST_TRACKED = 10_000;
const MOST_RESTING = 500;

let epochs = 0;

export function newShare(place: Place, rung: number | undefined): Share {
  return {
    ...place,
    epoch: ++epochs,
    rung,
    live: true,
    opened: false,
    opening: false,
    track: [],
    head: 0,
    position: undefined,
    committed: undefined,
    queue: [],
    resting: [],
    handedOutTo: -1,
    marks: new Map(),
    suspects: 0,
    redeliveredTo: -1,
    paused: false,
    drained: undefined,
  };
}

/** Takes in what was fetched. A refetch of what is known already is left out. */
export function append(share: Share, records: readonly KafkaRecord[], next: number): void {
  const known = share.track.at(-1)?.offset ?? -1;
  const from = Math.max(known + 1, share.position ?? 0);
  const into = share.rung === undefined ? share.queue : share.resting;
  for (const record of records) {
    if (record.offset < from) continue;
    const entry: Entry = {
      share,
      offset: record.offset,
      record,
      done: false,
      delivery: undefined,
      seen: false,
      redelivered: false,
      suspect: false,
    };
    share.track.push(entry);
    into.push(entry);
  }
  share.position = Math.max(next, share.position ?? 0);
}

export function finish(entry: Entry): void {
  entry.done = true;
  entry.record = undefined;
  entry.delivery = undefined;
  // The next commit is to say so.
  if (entry.share.marks.delete(entry.offset)) entry.share.committed = undefined;
}

/** The offset up to which everything is done: what may be committed. Undefined before the first fetch. */
export function watermark(share: Share): number | undefined {
  const { track } = share;
  while (share.head < track.length && track[share.head]!.done) share.head++;
  if (share.head > 1_000 && share.head * 2 > track.length) {
    share.track = track.slice(share.head);
    share.head = 0;
  }
  return share.track[share.head]?.offset ?? share.position;
}

/** How many fetched records the watermark has not passed. */
function tracked(share: Share): number {
  watermark(share);
  return share.track.length - share.head;
}

/** Back among the ready ones, where its offset puts it. */
export function requeue(entry: Entry): void {
  entry.delivery = undefined;
  entry.redelivered = true;
  insert(entry.share.queue, entry);
}

export function insert(list: Entry[], entry: Entry): void {
  let at = list.length;
  while (at > 0 && list[at - 1]!.offset > entry.offset) at--;
  list.splice(at, 0, entry);
}

const inStock = ({ queue, resting }: Share): number => queue.length + resting.length;

/** No more is to be fetched. `stock` is how many ready records of a lane's partition are worth having. */
export const isFull = (share: Share, stock: number): boolean =>
  share.rung === undefined
    ? share.queue.length > stock || tracked(share) > MOST_TRACKED
    : inStock(share) > MOST_RESTING;

/** More may be fetched again. */
export const hasRoom = (share: Share, stock: number): boolean =>
  share.rung === undefined
    ? share.queue.length <= Math.ceil(stock / 2) && tracked(share) <= MOST_TRACKED
    : inStock(share) <= MOST_RESTING / 2;
