import type { Headers } from '../../src/port.ts';
import type { GroupMember, KafkaRecord, Place, Unit } from './client.ts';
import type { Context } from './context.ts';
import { messageOf } from './errors.ts';
import { patiently } from './group-start.ts';
import { append, hasRoom, isFull, newShare, type Share, watermark } from './share.ts';
import { atNote, type Kind, marksFit, movedNote, readNote, withKind } from './start.ts';

const COMMIT_EVERY_MS = 1_000;

export interface GroupOptions {
  readonly group: string;
  /** Written beside each commit; undefined for what is no group of the user's. */
  readonly kind: Kind | undefined;
  readonly topics: readonly string[];
  readonly pools: readonly (readonly Unit[])[];
  /** The rung of a ladder's partition; undefined for others. */
  rungOf(place: Place): number | undefined;
  /** Fetching from a lane's partition pauses above this many ready records, and goes on below half of them. */
  readonly stock: number;
  /** How long a rebalance waits for what is handed out to be finished. */
  readonly drainMs: number;
  /** Records of a dead predecessor's partition that count as suspects. */
  readonly suspects: number;
}

export interface GroupHandler {
  /** Records are there to be looked at. */
  ready(share: Share): void;
  lost(share: Share): void;
  /** How many records are handed out and not settled. */
  out(): number;
}

export interface Group {
  readonly shares: ReadonlyMap<string, Share>;
  /** Nothing may be handed out while a rebalance is under way. */
  holding(): boolean;
  /** To be called whenever something was handed out or finished. */
  relieve(share: Share): void;
  commit(): Promise<void>;
  /** Replaces the marks of an unsettled record, by a commit. False where that failed, and nothing is changed. */
  mark(share: Share, offset: number, marks: Headers): Promise<boolean>;
  health(): { readonly joined: boolean; readonly activeAt: number; readonly lastError: string | undefined };
  /** Commits what is finished, and that nobody died of the rest, and leaves. */
  stop(): Promise<void>;
}

/** Membership in a consumer group: who owns what, what is fetched, and what is committed. */
export async function joinGroup(context: Context, options: GroupOptions, handler: GroupHandler): Promise<Group> {
  const { client, hooks, settings } = context;
  const shares = new Map<string, Share>();
  /** How far partitions that we lost had been handed out. */
  const former = new Map<string, number>();
  let holding = false;
  let stopping = false;
  let settled: (() => void) | undefined;
  let lastError: string | undefined;
  let committing: Promise<void> = Promise.resolve();
  let member: GroupMember | undefined;

  const nameOf = ({ topic, partition }: Place): string => `${topic}/${partition}`;

  function lose(share: Share): void {
    share.live = false;
    former.set(nameOf(share), share.handedOutTo);
    shares.delete(nameOf(share));
    share.drained?.resolve();
    handler.lost(share);
  }

  function assigned(owned: readonly Place[], continuous: boolean): void {
    const kept = new Set(continuous ? owned.map(nameOf) : []);
    for (const [name, share] of [...shares]) if (!kept.has(name)) lose(share);
    for (const place of owned) {
      const share = shares.get(nameOf(place));
      if (share === undefined) {
        shares.set(nameOf(place), newShare(place, options.rungOf(place)));
        member?.resume(place);
      } else if (share.position !== undefined) {
        // A rejoined member begins at the committed offset again; what is here must not be fetched twice.
        member?.seek(place, share.position);
        // Its note on the broker says that it was handed over: to be written again.
        share.committed = undefined;
      }
    }
    holding = false;
    if (lastError !== undefined) hooks.emit({ type: 'connected', detail: `consumer of ${options.group}` });
    lastError = undefined;
    for (const share of shares.values()) handler.ready(share);
  }

  async function rejoining(): Promise<void> {
    holding = true;
    if (options.drainMs > 0 && handler.out() > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, options.drainMs);
        settled = () => {
          if (handler.out() > 0 && !stopping) return;
          clearTimeout(timer);
          resolve();
        };
      });
      settled = undefined;
    }
    await commit(moved, true).catch(() => {});
  }

  async function records(place: Place, batch: readonly KafkaRecord[], next: number): Promise<void> {
    const share = shares.get(nameOf(place));
    if (share === undefined || stopping) return;
    append(share, batch, next);
    if (share.opened) handler.ready(share);
    else open(share);
    if (!isFull(share, options.stock)) return;
    if (share.rung === undefined) await drained(share);
    if (share.live && !stopping && !hasRoom(share, options.stock)) {
      share.paused = true;
      member?.pause(place);
    }
  }

  /** Waits a moment for the stock to go down: a fast handler is not held up by pausing and resuming. */
  async function drained(share: Share): Promise<void> {
    share.drained = Promise.withResolvers();
    const timer = setTimeout(share.drained.resolve, settings.maxWaitMs);
    await share.drained.promise;
    clearTimeout(timer);
    share.drained = undefined;
  }

  /**
   * Before the first record is handed out it is on the broker that something will be: whoever takes over after our
   * death must know, even if we die of the first.
   */
  async function open(share: Share): Promise<void> {
    const { topic, partition } = share;
    if (member === undefined || share.opening) return;
    share.opening = true;
    try {
      const found = await client.committed(options.group, new Map([[topic, partition + 1]]));
      const before = found.get(topic)?.[partition];
      const start = readNote(before?.metadata ?? '', hooks.instance);
      const offset = before?.offset ?? share.track[share.head]?.offset ?? share.position ?? 0;
      if (!share.live) return;
      await member.commit([
        {
          topic,
          partition,
          offset,
          metadata: withKind(
            options.kind,
            atNote(Math.max(start.handedOutTo, offset - 1), hooks.instance, start.marks),
          ),
        },
      ]);
      for (const [marked, marks] of start.marks) if (marked >= offset) share.marks.set(marked, marks);
      share.suspects = start.died ? options.suspects : 0;
      share.redeliveredTo = start.ours ? (former.get(nameOf(share)) ?? start.handedOutTo) : start.handedOutTo;
      share.handedOutTo = Math.max(start.handedOutTo, offset - 1);
      share.opened = true;
      handler.ready(share);
    } catch (error) {
      // Tried again with the next commit; until then nothing of this partition is handed out.
      lastError = messageOf(error);
    } finally {
      share.opening = false;
    }
  }

  const moved = (share: Share): string => withKind(options.kind, movedNote(share.handedOutTo, share.marks));
  const at = (share: Share): string => withKind(options.kind, atNote(share.handedOutTo, hooks.instance, share.marks));

  /** `always`: also where no more is finished than at the last commit. */
  function commit(note: (share: Share) => string, always = false): Promise<void> {
    const next = committing.then(() => commitNow(note, always));
    committing = next.catch(() => {});
    return next;
  }

  async function commitNow(note: (share: Share) => string, always: boolean): Promise<void> {
    const due: { share: Share; offset: number; metadata: string }[] = [];
    for (const share of shares.values()) {
      const offset = share.opened ? watermark(share) : undefined;
      if (offset === undefined) continue;
      const metadata = note(share);
      if (always || offset !== share.committed) due.push({ share, offset, metadata });
    }
    if (due.length === 0 || member === undefined) return;
    await member.commit(
      due.map(({ share, offset, metadata }) => ({ topic: share.topic, partition: share.partition, offset, metadata })),
    );
    await hooks.crashPoint?.('kafka:committed');
    for (const { share, offset } of due) share.committed = offset;
  }

  async function tick(): Promise<void> {
    for (const share of shares.values()) {
      if (!share.opened && share.track.length > 0) await open(share);
    }
    await commit(at).catch((error) => {
      // A rebalance, or a broker that is away: the next one says as much.
      if (!client.isTransient(error)) lastError = messageOf(error);
    });
  }

  let ticking = false;
  const timer = setInterval(async () => {
    if (ticking) return;
    ticking = true;
    await tick();
    ticking = false;
  }, COMMIT_EVERY_MS);

  function loseAll(): void {
    for (const share of [...shares.values()]) lose(share);
    holding = false;
  }

  const group: Group = {
    shares,
    holding: () => holding || stopping,
    relieve(share) {
      settled?.();
      if (!share.live || !hasRoom(share, options.stock)) return;
      share.drained?.resolve();
      if (share.paused) {
        share.paused = false;
        member?.resume(share);
      }
    },
    commit: () => commit(at),
    async mark(share, offset, marks) {
      const before = share.marks.get(offset);
      const undo = (): false => {
        if (before === undefined) share.marks.delete(offset);
        else share.marks.set(offset, before);
        return false;
      };
      share.marks.set(offset, marks);
      if (!marksFit(share.marks)) return undo();
      try {
        share.committed = undefined;
        await commit(at);
        return share.live;
      } catch (error) {
        if (!client.isTransient(error)) lastError = messageOf(error);
        return undo();
      }
    },
    health: () => ({ ...(member?.state() ?? { joined: false, activeAt: 0 }), lastError }),
    async stop() {
      stopping = true;
      settled?.();
      clearInterval(timer);
      for (const share of shares.values()) share.drained?.resolve();
      await commit(moved, true).catch(() => {});
      await member?.stop();
      loseAll();
    },
  };

  try {
    member = await patiently(client, () =>
      client.join(
        { group: options.group, topics: options.topics, pools: options.pools },
        {
          rejoining,
          assigned,
          records,
          down(error) {
            const known = lastError !== undefined;
            lastError = messageOf(error);
            if (!known) hooks.emit({ type: 'disconnected', detail: `consumer of ${options.group}: ${lastError}` });
            loseAll();
          },
        },
      ),
    );
    return group;
  } catch (error) {
    clearInterval(timer);
    throw error;
  }
}
