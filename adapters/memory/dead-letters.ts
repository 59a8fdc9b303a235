import type { DeadLetterStore, Headers, StoredLetter } from '../../src/port.ts';
import type { Entry, Group, Letter, MemoryBroker } from './broker.ts';
import { fromStored, withMarks } from './headers.ts';
import { enqueue } from './publish.ts';
import { findGroup } from './topology.ts';

/** Out of the group, into its dead letters, as it was but for the marks. */
export function bury(broker: MemoryBroker, group: Group, entry: Entry, marks: Headers): void {
  const letterId = String(broker.next());
  entry.message = withMarks(entry.message, marks);
  group.dead.set(letterId, { letterId, entry, deadAt: broker.clock.now() });
}

/** Scans take no lock: a letter that somebody else took meanwhile answers `stale`. */
export function deadLetters(broker: MemoryBroker, topic: string, groupName: string): DeadLetterStore {
  const group = (): Group => findGroup(broker, topic, groupName);

  // True for the letters that were still there: of two who take the same one, one gets it.
  function remove(letters: readonly StoredLetter[], then: (letter: Letter) => void): ('settled' | 'stale')[] {
    const { dead } = group();
    return letters.map(({ letterId }) => {
      const letter = dead.get(letterId);
      if (letter === undefined) return 'stale';
      dead.delete(letterId);
      then(letter);
      return 'settled';
    });
  }

  return {
    async *scan({ pageSize, signal }) {
      // Those of this moment: a letter that is replayed and dies again must not be met twice.
      const letters = [...group().dead.values()];
      for (let start = 0; start < letters.length; start += pageSize) {
        signal?.throwIfAborted();
        const page = letters.slice(start, start + pageSize).filter((letter) => group().dead.has(letter.letterId));
        if (page.length > 0) yield page.map(toStoredLetter);
      }
    },
    async replay(letters, marks) {
      return remove(letters, ({ entry }) =>
        enqueue(broker, group(), withMarks(entry.message, marks), { lane: entry.lane, shard: entry.shard, delayMs: 0 }),
      );
    },
    async discard(letters) {
      return remove(letters, () => {});
    },
    async count() {
      return group().dead.size;
    },
  };
}

function toStoredLetter(letter: Letter): StoredLetter {
  return {
    letterId: letter.letterId,
    message: fromStored(letter.entry.message),
    lane: letter.entry.lane,
    deadAt: letter.deadAt,
    handle: letter,
  };
}
