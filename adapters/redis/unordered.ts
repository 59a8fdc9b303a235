import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Delivery, Receive, Settlement, Source, Subscription } from '../../src/port.ts';
import { catchUpEntries, claimEntries, wakeSuffix } from './claims.ts';
import { startMover } from './delays.ts';
import { messageOf } from './errors.ts';
import {
  type Arrival,
  type Entry,
  type Handle,
  newAlarm,
  newPauses,
  newStream,
  type Stream,
  takeOff,
} from './flight.ts';
import { groupKey, lanesOf } from './keys.ts';
import { markEntry } from './marks.ts';
import { blockMs, type ConsumeNeeds, openReader } from './reader.ts';
import { newReaper } from './reap.ts';
import { extendEntries, settleEntries } from './settle.ts';
import { ensureStreams } from './topology.ts';

/** Reads an unordered group: entries are leased one by one, by how long they have been idle. */
export async function consumeUnordered(
  needs: ConsumeNeeds,
  subscription: Subscription,
  receive: Receive,
): Promise<Source> {
  const { settings, control, consumer } = needs;
  const { topology, group, prefetch, leaseMs } = subscription;
  const base = groupKey(settings.prefix, topology.topic, group);
  const streams = lanesOf(topology).map((lane) => newStream(base, lane, lane, 0));
  const suffixes = [...lanesOf(topology), wakeSuffix];
  const wakeKey = `${base}:${wakeSuffix}`;
  const us = { base, consumer };
  const pauses = newPauses();
  const alarm = newAlarm();
  let stopping: Promise<void> | undefined;
  let reading: readonly Stream[] = streams;
  let claimAt = 0;
  let wakeId = '';

  const ensure = (client: Redis): Promise<void> =>
    ensureStreams(client, settings.prefix, { topic: topology.topic, group, suffixes });
  const reader = await openReader(needs, {
    up: ensure,
    down() {
      for (const stream of streams) stream.catchUp = true;
    },
  });
  const mover = startMover(base, control.use);
  const reaper = newReaper(base, suffixes, leaseMs);

  const free = (stream: Stream): number => (pauses.has(stream.lane) ? 0 : prefetch - stream.inFlight.size);

  function deliver(
    stream: Stream,
    entries: readonly Entry[],
    { redelivered, suspect = () => false }: { redelivered: boolean; suspect?: Arrival['suspect'] },
  ): void {
    const deliveries = takeOff(stream, entries, { epoch: 0, token: '', redelivered, suspect });
    if (deliveries.length === 0) return;
    if (!pauses.has(stream.lane)) receive.deliver(deliveries);
    else giveBack(stream, deliveries);
  }

  /** What was on its way when its lane was paused. */
  function giveBack(stream: Stream, deliveries: readonly Delivery[]): void {
    for (const { handle } of deliveries) stream.inFlight.delete((handle as Handle).entryId);
    const back = deliveries.map((delivery): Settlement => ({ kind: 'give-back', delivery }));
    void settleEntries(needs, us, back).then(() => {
      claimAt = 0;
    });
  }

  /** Takes what others gave back, and over what nobody has extended for a lease. */
  async function claim(client: Redis): Promise<void> {
    // Not with every wake: only this often does anybody learn of what was given back in a lane that was full or paused.
    claimAt = performance.now() + Math.min(leaseMs / 2, 1_000);
    const open = streams.filter((stream) => free(stream) > 0);
    const asked = open.map((stream) => ({ suffix: stream.suffix, count: free(stream) }));
    const claimed = await claimEntries(client, base, { consumer, leaseMs, wakeId }, asked);
    wakeId = '';
    for (const [index, { returned, expired }] of claimed.entries()) {
      deliver(open[index]!, returned, { redelivered: true });
      deliver(open[index]!, expired, { redelivered: true, suspect: () => true });
    }
  }

  /** Reads what became pending for us in replies that never arrived. */
  async function catchUp(client: Redis, stream: Stream): Promise<void> {
    const { suffix, cursor } = stream;
    const { entries, suspects } = await catchUpEntries(client, base, { consumer, suffix, count: free(stream), cursor });
    deliver(stream, entries, { redelivered: true, suspect: (id) => suspects.has(id) });
    if (entries.length === 0) stream.catchUp = false;
    else stream.cursor = entries.at(-1)![0].toString('latin1');
  }

  async function read(client: Redis, open: readonly Stream[]): Promise<void> {
    reading = open;
    const count = Math.min(...open.map(free));
    const patience = Math.max(1, Math.ceil(Math.min(blockMs(settings), claimAt - performance.now())));
    const keys = [...open.map(({ key }) => key), wakeKey];
    const args = ['GROUP', 'g', consumer, 'COUNT', count, 'BLOCK', patience, 'STREAMS', ...keys];
    const reply = await reader.block(client.callBuffer('XREADGROUP', ...args, ...keys.map(() => '>')));
    const arrived = new Map((reply as [Buffer, Entry[]][] | null)?.map(([key, entries]) => [key.toString(), entries]));
    const woken = arrived.get(wakeKey);
    if (woken) wakeId = woken[0]![0].toString('latin1');
    for (const stream of open) {
      const entries = arrived.get(stream.key);
      if (!entries) continue;
      stream.cursor = entries.at(-1)![0].toString('latin1');
      deliver(stream, entries, { redelivered: false });
    }
  }

  async function turn(client: Redis): Promise<void> {
    if (wakeId !== '' || performance.now() >= claimAt) await claim(client);
    await reaper.look(client);
    const open = streams.filter((stream) => free(stream) > 0);
    const behind = open.find((stream) => stream.catchUp);
    if (behind) await catchUp(client, behind);
    else if (open.length > 0) await read(client, open);
    else await alarm.wait(1_000);
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      try {
        await reader.link.ready(1_000);
        await reader.link.use(turn);
      } catch (error) {
        // The server lost the group (a restart without persistence, FLUSHALL): it begins again.
        if (messageOf(error).startsWith('NOGROUP')) await reader.link.use(ensure).catch(() => {});
        await sleep(50);
      }
    }
  }
  const reading_ = loop();

  async function end(): Promise<void> {
    alarm.ring();
    reader.interrupt();
    await reading_;
    mover.stop();
    const left = streams.flatMap(({ inFlight }) => [...inFlight.values()]);
    const back = left.map((delivery): Settlement => ({ kind: 'give-back', delivery }));
    // With no connection now, the lease's end gives them back.
    if (back.length > 0) await settleEntries(needs, { ...us, patienceMs: 1_000 }, back);
    for (const { inFlight } of streams) inFlight.clear();
    await control.use((client) => reaper.remove(client, consumer)).catch(() => {});
    reader.link.close();
  }

  return {
    async settle(batch) {
      const outcomes = await settleEntries(needs, us, batch);
      for (const settlement of batch) {
        const { suffix, entryId } = settlement.delivery.handle as Handle;
        const stream = streams.find((one) => one.suffix === suffix);
        stream?.inFlight.delete(entryId);
        if (stream && !reading.includes(stream)) reader.interrupt();
        if (settlement.kind === 'give-back') claimAt = 0;
        if (settlement.kind === 'retry') mover.nudge(settlement.delayMs);
      }
      alarm.ring();
      return outcomes;
    },
    mark: (delivery, marks) => markEntry(needs, us, delivery, marks),
    async extend(deliveries: readonly Delivery[]) {
      const handles = deliveries.map(({ handle }) => handle as Handle);
      await control.use((client) => extendEntries(client, base, consumer, handles)).catch(() => {});
    },
    pause(lane) {
      pauses.pause(lane);
      reader.interrupt();
    },
    resume(lane) {
      pauses.resume(lane);
      alarm.ring();
      reader.interrupt();
    },
    stop() {
      stopping ??= end();
      return stopping;
    },
  };
}
