import type { Delivery, Priority, Receive, Source, Subscription } from '../../src/port.ts';
import type { KafkaRecord, Place, Unit } from './client.ts';
import type { Context } from './context.ts';
import { type Group, joinGroup } from './group.ts';
import { fromRecord, originOf } from './headers.ts';
import { RUNGS } from './ladder.ts';
import { groupId, LANES, laneTopic, laneTopics, retryTopic } from './names.ts';
import { watchRungs } from './rest.ts';
import { settler } from './settle.ts';
import type { Entry, Share } from './share.ts';
import { kindOf } from './start.ts';

/** How long a rebalance waits for the running handlers of an ordered group; unordered ones are not waited for. */
const ORDERED_DRAIN_MS = 15_000;

/** A source, its group's name on the broker, and its health. */
export interface KafkaSource extends Source {
  readonly group: string;
  health(): { readonly name: string; readonly ok: boolean; readonly detail?: string };
  /** Writes down what is settled, so that the broker's numbers are fresh. */
  commit(): Promise<void>;
}

/**
 * One member of the topic's consumer group. It owns partition n of every lane or of none, and rungs of the group's
 * ladder. Records are fetched ahead of what is handed out, into a bounded stock per partition.
 */
export async function subscribe(context: Context, subscription: Subscription, receive: Receive): Promise<KafkaSource> {
  const { topology, ordered, prefetch } = subscription;
  const name = groupId(topology.topic, subscription.group);
  const ladder = retryTopic(topology.topic, subscription.group);
  const lanes = laneTopics(topology.topic, topology.lanes);
  const laneOf = new Map(LANES.map((lane) => [laneTopic(topology.topic, lane), lane]));
  const credit = new Map<string, number>();
  const paused = new Set<Priority>();
  let group: Group | undefined;
  let out = 0;
  let turn = 0;
  let stopped = false;

  const lane = (entry: Entry): Priority =>
    entry.share.rung === undefined ? laneOf.get(entry.share.topic)! : originOf(entry.record!).lane;
  const shard = (entry: Entry): number =>
    entry.share.rung === undefined ? entry.share.partition : originOf(entry.record!).partition;
  const account = (lane: Priority, shard: number): string => (ordered ? `${lane}/${shard}` : lane);

  /** Hands out the ready records that prefetch and pauses let through. Partitions take turns. */
  function handOut(): void {
    if (group === undefined || group.holding() || stopped) return;
    const batch: Delivery[] = [];
    const all = [...group.shares.values()];
    const touched: Share[] = [];
    turn = all.length === 0 ? 0 : (turn + 1) % all.length;
    for (let i = 0; i < all.length; i++) {
      const share = all[(turn + i) % all.length]!;
      if (!share.opened || share.queue.length === 0) continue;
      const before = batch.length;
      // A rung holds all lanes: one that is paused or full must not hold up the others there.
      share.queue =
        share.rung === undefined ? handOutHead(share, batch) : share.queue.filter((entry) => !give(entry, batch));
      if (batch.length > before) touched.push(share);
    }
    if (batch.length > 0) receive.deliver(batch);
    for (const share of touched) group.relieve(share);
  }

  function handOutHead(share: Share, batch: Delivery[]): Entry[] {
    let given = 0;
    while (given < share.queue.length && give(share.queue[given]!, batch)) given++;
    return given === 0 ? share.queue : share.queue.slice(given);
  }

  function give(entry: Entry, batch: Delivery[]): boolean {
    const [l, s] = [lane(entry), shard(entry)];
    const name = account(l, s);
    const used = credit.get(name) ?? 0;
    if (paused.has(l) || used >= prefetch) return false;
    credit.set(name, used + 1);
    out++;
    batch.push(deliveryOf(entry, l, s));
    return true;
  }

  function deliveryOf(entry: Entry, lane: Priority, shard: number): Delivery {
    const { share, record } = entry;
    if (!entry.seen) {
      entry.seen = true;
      // What was handed out since the last commit is not on the broker: as many more as a prefetch may be among it.
      entry.suspect = share.suspects > 0;
      if (entry.suspect) share.suspects--;
      entry.redelivered = entry.suspect || entry.offset <= share.redeliveredTo;
    }
    share.handedOutTo = Math.max(share.handedOutTo, entry.offset);
    const message = fromRecord(record!);
    const marks = share.marks.get(entry.offset);
    const delivery: Delivery = {
      message: marks === undefined ? message : { ...message, marks },
      lane,
      shard,
      epoch: share.epoch,
      redelivered: entry.redelivered,
      suspect: entry.suspect,
      position: (share.rung === undefined ? '' : originOf(record!).at) || positionOf(share, record!),
      handle: entry,
    };
    entry.delivery = delivery;
    return delivery;
  }

  function takeBack(delivery: Delivery): void {
    const name = account(delivery.lane, delivery.shard);
    credit.set(name, Math.max(0, (credit.get(name) ?? 0) - 1));
    out--;
  }

  const resting = watchRungs(context, ladder, () => group, handOut);
  const settle = settler(context, subscription, {
    ended(entry, delivery) {
      takeBack(delivery);
      group?.relieve(entry.share);
    },
    handOut,
  });

  group = await joinGroup(
    context,
    {
      group: name,
      kind: kindOf(subscription),
      topics: [...lanes, ladder],
      pools: [unitsOf(lanes, topology.partitions), unitsOf([ladder], RUNGS.length)],
      rungOf: (place: Place) => (place.topic === ladder ? place.partition : undefined),
      stock: 2 * prefetch,
      drainMs: ordered ? Math.min(ORDERED_DRAIN_MS, subscription.handlerTimeoutMs) : 0,
      suspects: prefetch,
    },
    {
      ready(share) {
        resting.look(share);
        handOut();
      },
      lost(share) {
        for (const { delivery } of share.track.slice(share.head)) if (delivery) takeBack(delivery);
        share.resting = [];
        share.queue = [];
        if (!stopped) receive.revoked(share.epoch);
      },
      out: () => out,
    },
  );
  handOut();

  let stopping: Promise<void> | undefined;
  return {
    group: name,
    settle: settle.settle,
    async mark(delivery, marks) {
      const entry = delivery.handle as Entry;
      if (!entry.share.live || entry.delivery !== delivery) return 'stale';
      return (await group.mark(entry.share, entry.offset, marks)) ? 'settled' : 'unknown';
    },
    // Nothing is leased: kafkajs's heartbeats keep the assignment, however long a handler runs.
    async extend() {},
    pause(lane) {
      for (const one of lane === undefined ? LANES : [lane]) paused.add(one);
    },
    resume(lane) {
      for (const one of lane === undefined ? LANES : [lane]) paused.delete(one);
      handOut();
    },
    stop() {
      stopping ??= (async () => {
        stopped = true;
        await settle.close();
        resting.close();
        await group.stop();
      })();
      return stopping;
    },
    commit: () => group.commit(),
    health() {
      const { joined, activeAt, lastError } = group.health();
      const silentMs = Date.now() - activeAt;
      const ok = joined && silentMs < Math.max(30_000, context.settings.sessionTimeoutMs);
      const detail = lastError ?? (joined ? `silent for ${silentMs} ms` : 'not a member of its group at the moment');
      return { name: `consumer ${topology.topic}/${subscription.group}`, ok, ...(ok ? {} : { detail }) };
    },
  };
}

/** What has no id is known by its place and, since a topic may be deleted and created again, its time (S26). */
function positionOf({ topic, partition }: Share, { offset, timestamp, headers }: KafkaRecord): string {
  const named = headers['hf-id'] !== undefined || headers.ce_id !== undefined;
  return `${topic}/${partition}/${offset}${named || timestamp === undefined ? '' : `@${timestamp}`}`;
}

/** Unit n is partition n of each topic. */
function unitsOf(topics: readonly string[], partitions: number): Unit[] {
  return Array.from({ length: partitions }, (_, partition) => topics.map((topic) => ({ topic, partition })));
}
