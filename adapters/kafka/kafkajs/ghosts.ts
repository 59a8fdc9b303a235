import type { RawBroker } from './cluster.ts';
import { isTransient, protocolType } from './errors.ts';

const AGAIN_MS = 100;

/**
 * Members that a group still counts in though their consumer is gone. A rebalance waits for each of them until its
 * session ends, also for one that was given an id and has not joined yet; so they are taken out before we join again.
 */
export interface Ghosts {
  add(ids: Iterable<string>): void;
  /** Tries until each is out, `enough()`, or the longest that the group itself would wait has passed. */
  bury(enough: () => boolean): Promise<void>;
}

export function ghostsOf(leave: (memberId: string) => Promise<void>, sessionTimeoutMs: number): Ghosts {
  const known = new Set<string>();

  async function out(id: string): Promise<boolean> {
    try {
      await leave(id);
      return true;
    } catch (error) {
      // A coordinator that has just started loads its groups first; until then it knows nobody.
      return protocolType(error) === 'UNKNOWN_MEMBER_ID' || !isTransient(error);
    }
  }

  return {
    add(ids) {
      for (const id of ids) known.add(id);
    },
    async bury(enough) {
      for (const until = Date.now() + sessionTimeoutMs; known.size > 0 && Date.now() < until && !enough(); ) {
        for (const id of known) if (await out(id)) known.delete(id);
        if (known.size > 0) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    },
  };
}

const watched = new WeakSet<RawBroker>();

/** Tells of each id that this broker gives to a member or takes it by, also where joining fails afterwards. */
export function watchIds(broker: RawBroker, seen: (memberId: string) => void): RawBroker {
  if (watched.has(broker)) return broker;
  watched.add(broker);
  const join = broker.joinGroup.bind(broker);
  const tell = (from: unknown): void => {
    const id = (from as { memberId?: unknown } | null)?.memberId;
    if (typeof id === 'string' && id !== '') seen(id);
  };
  broker.joinGroup = async (request) => {
    tell(request);
    try {
      const answer = await join(request);
      tell(answer);
      return answer;
    } catch (error) {
      tell(error);
      throw error;
    }
  };
  return broker;
}
