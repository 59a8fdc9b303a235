import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Delivery, Receive, Settlement, Source, Subscription } from '../../src/port.ts';
import { startMover } from './delays.ts';
import { type Handle, newAlarm, newPauses, newStream, type Stream, takeOff } from './flight.ts';
import { groupKey, lanesOf, streamSuffix } from './keys.ts';
import { markEntry } from './marks.ts';
import { blockMs, type ConsumeNeeds, openReader } from './reader.ts';
import { settleEntries } from './settle.ts';
import { fetchStreams, type Held, heartbeat, leaveShards, releaseShard, shardConsumer } from './shards.ts';

interface Shard extends Held {
  readonly epoch: number;
  readonly streams: readonly Stream[];
  /** When our lease was surely ours, by this process's own steady clock. */
  renewedAt: number;
  /** Somebody else's turn: nothing more is read; released when all is settled, or at this time. */
  yieldBy: number | undefined;
  /** Its first read: what is pending was somebody else's. */
  readonly takenOver: Set<Stream>;
  /** Streams to be read again from their first pending entry, once nothing of them is in flight. */
  readonly rewind: Set<Stream>;
}

let epochs = 0;

/** Reads an ordered group: shard by shard under a lease with a fencing token; never claims by idleness (S21). */
export async function consumeOrdered(
  needs: ConsumeNeeds,
  subscription: Subscription,
  receive: Receive,
): Promise<Source> {
  const { settings, control, consumer } = needs;
  const { topology, group, prefetch, leaseMs, handlerTimeoutMs } = subscription;
  const base = groupKey(settings.prefix, topology.topic, group);
  const us = { base, consumer: shardConsumer };
  const lanes = lanesOf(topology);
  const ttlMs = settings.shardLeaseMs ?? Math.max(500, Math.min(leaseMs, 10_000));
  const shards = new Map<number, Shard>();
  const pauses = newPauses();
  const alarm = newAlarm();
  let stopping: Promise<void> | undefined;
  let ticking: Promise<void> | undefined;
  let renewedAt = Number.NEGATIVE_INFINITY;

  const reader = await openReader(needs, {
    up: async () => {},
    down() {
      for (const { streams } of shards.values()) for (const stream of streams) stream.catchUp = true;
    },
  });
  const mover = startMover(base, control.use);

  const idle = ({ streams }: Shard): boolean => streams.every(({ inFlight }) => inFlight.size === 0);
  function changed(): void {
    alarm.ring();
    reader.interrupt();
  }

  const streamOf = ({ streams }: Shard, { lane }: Delivery): Stream => streams.find((one) => one.lane === lane)!;
  function rewindBefore(delivery: Delivery): void {
    const held = shards.get(delivery.shard);
    if (held?.epoch === delivery.epoch) held.rewind.add(streamOf(held, delivery));
  }

  function take(shard: number, token: string, renewedAt: number): void {
    const streams = lanes.map((lane) => newStream(base, streamSuffix(lane, shard), lane, shard));
    for (const stream of streams) stream.catchUp = true;
    const takenOver = new Set(streams);
    const rewind = new Set<Stream>();
    shards.set(shard, { shard, token, epoch: ++epochs, streams, renewedAt, yieldBy: undefined, takenOver, rewind });
    changed();
  }
  function lose(held: Shard): void {
    if (shards.get(held.shard) !== held) return;
    shards.delete(held.shard);
    receive.revoked(held.epoch);
  }
  /** Everything in flight goes back; a failure leaves the shard to its lease's end. */
  async function release(held: Shard): Promise<void> {
    if (shards.get(held.shard) !== held) return;
    shards.delete(held.shard);
    const unsettled = held.streams.flatMap(({ inFlight }) => [...inFlight.values()]);
    if (unsettled.length > 0 && !stopping) receive.revoked(held.epoch);
    const handles = unsettled.map(({ handle }) => handle as Handle);
    await control.use((client) => releaseShard(client, base, held, handles)).catch(() => {});
  }

  async function tick(): Promise<void> {
    const now = performance.now();
    const asked = [...shards.values()];
    const renew = now - renewedAt >= ttlMs / 3;
    const me = { consumer, ttlMs, partitions: topology.partitions, lanes, renew };
    const answers = await control.use((client) => heartbeat(client, base, me, asked));
    if (renew) renewedAt = now;
    for (const [shard, answer] of answers.entries()) {
      const held = asked.find((one) => one.shard === shard);
      if (answer.startsWith('token:')) take(shard, answer.slice(6), now);
      else if (held && answer === 'lost') lose(held);
      else if (held) {
        if (renew) held.renewedAt = now;
        const patienceMs = Math.max(ttlMs, Math.min(handlerTimeoutMs, 30_000));
        held.yieldBy = answer === 'yield' ? (held.yieldBy ?? now + patienceMs) : undefined;
        if (held.yieldBy !== undefined && (idle(held) || now > held.yieldBy)) await release(held);
      }
    }
  }
  function beat(): void {
    // Before the server's clock can end the lease, and however long an answer takes: nobody else has it yet.
    const surely = performance.now() - ttlMs * 0.8;
    for (const held of shards.values()) if (held.renewedAt < surely) lose(held);
    if (ticking || stopping) return;
    ticking = tick()
      .catch(() => {})
      .finally(() => {
        ticking = undefined;
      });
  }
  const timer = setInterval(beat, Math.min(150, ttlMs / 6));

  /** Streams that may be read now, and how much of each. */
  function open(): { held: Shard; stream: Stream; token: string; count: number }[] {
    return [...shards.values()]
      .filter(({ yieldBy }) => yieldBy === undefined)
      .flatMap((held) =>
        held.streams.map((stream) => {
          if (held.rewind.has(stream) && stream.inFlight.size === 0) {
            held.rewind.delete(stream);
            stream.cursor = '0-0';
            stream.catchUp = true;
          }
          const shut = pauses.has(stream.lane) || held.rewind.has(stream);
          return { held, stream, token: held.token, count: shut ? 0 : prefetch - stream.inFlight.size };
        }),
      )
      .filter(({ count }) => count > 0);
  }

  async function turn(client: Redis): Promise<void> {
    alarm.reset();
    const asked = open();
    if (asked.length === 0) return await alarm.wait(1_000);
    const answers = await fetchStreams(client, base, asked);
    let quiet = true;
    for (const [index, { held, stream }] of asked.entries()) {
      const answer = answers[index];
      if (shards.get(held.shard) !== held) continue;
      if (answer === undefined) {
        lose(held);
        continue;
      }
      const { entries, returned } = answer;
      if (entries.length > 0 && (pauses.has(stream.lane) || held.rewind.has(stream))) {
        // They were on their way when the lane was paused, or what comes before them was given back: they come later.
        stream.catchUp = true;
        continue;
      }
      const suspect = (id: string): boolean => held.takenOver.has(stream) && !returned.has(id);
      const arrival = { epoch: held.epoch, token: held.token, redelivered: stream.catchUp, suspect };
      const deliveries = takeOff(stream, entries, arrival);
      if (deliveries.length > 0) receive.deliver(deliveries);
      if (entries.length > 0 || stream.catchUp) quiet = false;
      if (entries.length > 0) stream.cursor = entries.at(-1)![0].toString('latin1');
      else if (stream.catchUp) {
        stream.catchUp = false;
        held.takenOver.delete(stream);
      }
    }
    if (!quiet || stopping || alarm.rung) return;
    // Only to be woken: what is there is read by the next turn, under its token.
    const keys = asked.map(({ stream }) => stream.key);
    const after = answers.map((answer) => answer?.lastGiven || '0-0');
    const args = ['COUNT', 1, 'BLOCK', blockMs(settings), 'STREAMS', ...keys, ...after];
    await reader.block(client.callBuffer('XREAD', ...args));
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      try {
        await reader.link.ready(1_000);
        await reader.link.use(turn);
      } catch {
        for (const { streams } of shards.values()) for (const stream of streams) stream.catchUp = true;
        await sleep(50);
      }
    }
  }
  beat();
  const reading = loop();

  async function end(): Promise<void> {
    clearInterval(timer);
    alarm.ring();
    reader.interrupt();
    await reading;
    await ticking;
    mover.stop();
    await Promise.all([...shards.values()].map(release));
    await control.use((client) => leaveShards(client, base, consumer)).catch(() => {});
    reader.link.close();
  }

  return {
    async settle(batch: readonly Settlement[]) {
      // From now on nothing overtakes what is given back.
      for (const { kind, delivery } of batch) if (kind === 'give-back') rewindBefore(delivery);
      const outcomes = await settleEntries(needs, us, batch);
      for (const [index, settlement] of batch.entries()) {
        const { delivery, kind } = settlement;
        if (kind === 'retry') mover.nudge(settlement.delayMs);
        const held = shards.get(delivery.shard);
        if (!held || held.epoch !== delivery.epoch) continue;
        // It may still be pending: then it comes again, before anything that follows it.
        if (outcomes[index] === 'unknown') rewindBefore(delivery);
        streamOf(held, delivery).inFlight.delete((delivery.handle as Handle).entryId);
        if (held.yieldBy !== undefined && idle(held)) await release(held);
      }
      changed();
      return outcomes;
    },
    mark: (delivery, marks) => markEntry(needs, us, delivery, marks),
    // The source renews its shards by itself.
    extend: async () => {},
    pause(lane) {
      pauses.pause(lane);
      reader.interrupt();
    },
    resume(lane) {
      pauses.resume(lane);
      changed();
    },
    stop() {
      stopping ??= end();
      return stopping;
    },
  };
}
