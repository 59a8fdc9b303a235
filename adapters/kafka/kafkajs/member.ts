import type { AssignerProtocol, Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type { GroupEvents, GroupMember, GroupSpec, Place } from '../client.ts';
import type { Settings } from '../options.ts';
import { stickyAssigner } from './assigner.ts';
import { leaveSilence, type RawCluster } from './cluster.ts';
import { coordinatorOf } from './coordinator.ts';
import { ghostsOf, watchIds } from './ghosts.ts';
import { recordOf } from './records.ts';
import type { Sockets } from './sockets.ts';

const FIRST_RESTART_MS = 250;
/** After this long at most a consumer whose broker is back looks for it. */
export const LAST_RESTART_MS = 2_000;
export const MEMBER_RETRY = { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000 } as const;
const STOP_MS = 1_500;
const REBALANCE_MS = 60_000;

export interface MemberParts {
  /** A kafkajs client with sockets of its own: one per attempt, since a killed one stays dead. */
  fresh(): { readonly kafka: Kafka; readonly sockets: Sockets };
  readonly codec: typeof AssignerProtocol;
  readonly settings: Settings;
  /** Takes a member out of the group in its absence. */
  leave(group: string, memberId: string): Promise<void>;
}

/** One life of the consumer: from its start to its crash. */
interface Life {
  readonly consumer: Consumer;
  readonly sockets: Sockets;
  over: boolean;
  /** Assigned, and no JoinGroup under way: commits are accepted. */
  joined: boolean;
  /** JoinGroup requests since the last assignment. */
  joins: number;
  memberId: string | undefined;
  /** By which the group may know this member, joined or not. */
  readonly ids: Set<string>;
  owned: readonly Place[];
  heartbeat: (() => Promise<void>) | undefined;
  commit: EachBatchPayload['commitOffsetsIfNecessary'] | undefined;
}

/**
 * A member of a consumer group that comes back by itself after whatever ends it.
 *
 * kafkajs offers no way to finish work between the news of a rebalance and the JoinGroup request that answers it. Its
 * first step there is to ask the cluster, which it hands to assigners, for the group's coordinator: that is where we
 * make it wait, sending the heartbeats meanwhile.
 */
export function kafkajsMember(
  parts: MemberParts,
  spec: GroupSpec,
  events: GroupEvents,
): { member: GroupMember; joined: Promise<void> } {
  const { settings } = parts;
  let life: Life | undefined;
  let stopped = false;
  let activeAt = Date.now();
  let restartMs = FIRST_RESTART_MS;
  let restartTimer: NodeJS.Timeout | undefined;
  const ghosts = ghostsOf((id) => parts.leave(spec.group, id), settings.sessionTimeoutMs);
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => {});
  const patienceMs = Math.max(30_000, 2 * settings.sessionTimeoutMs);
  // kafkajs can hang without a crash, on a group whose coordinator never answers.
  const watchdog = setInterval(() => {
    if (life === undefined) return;
    // A JoinGroup request is answered when the last member has joined.
    const answerMs = life.joins > 0 ? REBALANCE_MS : 0;
    if (Date.now() - activeAt > patienceMs + answerMs)
      end(life, new Error('the consumer has been silent for too long'));
  }, 5_000);
  watchdog.unref();

  function begin(): void {
    const { kafka, sockets } = parts.fresh();
    const consumer = kafka.consumer({
      groupId: spec.group,
      sessionTimeout: settings.sessionTimeoutMs,
      heartbeatInterval: settings.heartbeatIntervalMs,
      rebalanceTimeout: REBALANCE_MS,
      minBytes: 1,
      maxWaitTimeInMs: settings.maxWaitMs,
      allowAutoTopicCreation: false,
      // We start a new life ourselves, whatever the error: kafkajs would for some only.
      retry: { ...MEMBER_RETRY, restartOnFailure: async () => false },
      partitionAssigners: [
        ({ cluster }) => {
          waitBeforeJoining(cluster as unknown as RawCluster, () => current);
          return stickyAssigner(
            parts.codec,
            spec,
            () => current.owned,
            () => onJoining(current),
          );
        },
      ],
    });
    const current: Life = {
      consumer,
      sockets,
      over: false,
      joined: false,
      joins: 0,
      memberId: undefined,
      ids: new Set(),
      owned: [],
      heartbeat: undefined,
      commit: undefined,
    };
    life = current;
    activeAt = Date.now();
    listen(current);
    run(current).catch((error) => end(current, error));
  }

  function waitBeforeJoining(cluster: RawCluster, lifeOf: () => Life): void {
    const find = cluster.findGroupCoordinator.bind(cluster);
    cluster.findGroupCoordinator = async (group) => {
      const current = lifeOf();
      if (current.joined && current.joins === 0 && !current.over) await drain(current);
      return watchIds(await coordinatorOf(cluster, group.groupId, find), (id) => current.ids.add(id));
    };
  }

  async function drain(current: Life): Promise<void> {
    const beat = setInterval(() => {
      activeAt = Date.now();
      // The broker answers "rebalance in progress", which counts as a heartbeat all the same.
      current.heartbeat?.().catch(() => {});
    }, settings.heartbeatIntervalMs);
    try {
      await events.rejoining();
    } finally {
      clearInterval(beat);
    }
  }

  function onJoining(current: Life): void {
    current.joined = false;
    current.joins++;
  }

  function listen(current: Life): void {
    const { consumer } = current;
    const active = () => {
      activeAt = Date.now();
    };
    leaveSilence(consumer, current.sockets);
    consumer.on(consumer.events.HEARTBEAT, active);
    consumer.on(consumer.events.FETCH, active);
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      if (current.over) return;
      // A member that was evicted comes back under another id; one that joined twice missed an assignment.
      const continuous = current.joins === 1 && payload.memberId === current.memberId;
      current.memberId = payload.memberId;
      current.joins = 0;
      current.joined = true;
      activeAt = Date.now();
      restartMs = FIRST_RESTART_MS;
      current.owned = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
        partitions.map((partition) => ({ topic, partition })),
      );
      events.assigned(current.owned, continuous);
      first.resolve();
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => end(current, payload.error));
  }

  async function run(current: Life): Promise<void> {
    const { consumer } = current;
    await consumer.connect();
    await ghosts.bury(() => current.over || stopped);
    if (current.over) return;
    await consumer.subscribe({ topics: [...spec.topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: spec.pools.reduce(
        (sum, units) => sum + units.reduce((n, unit) => n + unit.length, 0),
        0,
      ),
      eachBatch: async ({ batch, heartbeat, commitOffsetsIfNecessary }) => {
        current.heartbeat = heartbeat;
        current.commit = commitOffsetsIfNecessary;
        if (current.over || stopped) return;
        activeAt = Date.now();
        const place = { topic: batch.topic, partition: batch.partition };
        await events.records(place, batch.messages.map(recordOf), Number(batch.lastOffset()) + 1);
      },
    });
  }

  function end(current: Life, error: unknown): void {
    if (current.over) return;
    current.over = true;
    current.joined = false;
    ghosts.add(current.ids);
    current.sockets.kill();
    current.consumer.disconnect().catch(() => {});
    if (stopped) return;
    events.down(error);
    first.reject(error);
    restartTimer = setTimeout(begin, restartMs);
    restartMs = Math.min(restartMs * 2, LAST_RESTART_MS);
  }

  const member: GroupMember = {
    pause: ({ topic, partition }) => attempt(() => life?.consumer.pause([{ topic, partitions: [partition] }])),
    resume: ({ topic, partition }) => attempt(() => life?.consumer.resume([{ topic, partitions: [partition] }])),
    seek: ({ topic, partition }, offset) =>
      attempt(() => life?.consumer.seek({ topic, partition, offset: String(offset) })),
    async commit(offsets) {
      const current = life;
      // Checked in the same turn in which kafkajs notes the generation it commits under: no later one can slip in.
      if (!current?.joined || current.commit === undefined) throw new Error('not a member of the group at the moment');
      const byTopic = Map.groupBy(offsets, ({ topic }) => topic);
      await current.commit({
        topics: [...byTopic].map(([topic, partitions]) => ({
          topic,
          partitions: partitions.map(({ partition, offset, metadata }) => ({
            partition,
            offset: String(offset),
            metadata,
          })),
        })),
      });
    },
    state: () => ({ joined: life?.joined === true, activeAt }),
    async stop() {
      stopped = true;
      clearTimeout(restartTimer);
      clearInterval(watchdog);
      first.resolve();
      const late = Promise.withResolvers<void>();
      const until = Date.now() + STOP_MS;
      const timer = setTimeout(late.resolve, STOP_MS);
      const current = life?.over === false ? life : undefined;
      if (current) current.over = true;
      // Between two lives the group still counts the last one in, and would wait for it.
      const left = current ? current.consumer.disconnect() : ghosts.bury(() => Date.now() > until);
      await Promise.race([left.catch(() => {}), late.promise]);
      clearTimeout(timer);
      if (current === undefined) return;
      current.joined = false;
      current.sockets.kill();
    },
  };
  begin();
  return { member, joined: first.promise };
}

/** Between two lives kafkajs has nothing to pause; the next assignment begins from scratch. */
function attempt(call: () => void): void {
  try {
    call();
  } catch {
    // Not running.
  }
}
