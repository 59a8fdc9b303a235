import type { DeadLetterStore, Headers, StoredLetter } from '../../src/port.ts';
import type { Entry, Group, Letter, MemoryBroker } from './broker.ts';
import { fromStored, toStored, withMarks } from './headers.ts';
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
    sorted: true,
    async *scan({ pageSize, signal, after }) {
      // Those of this moment: a letter that is replayed and dies again must not be met twice.
      const letters = [...group().dead.values()].filter((letter) => after === undefined || placeOf(letter) > after);
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
    async replace(replacements) {
      const to = group();
      return replacements.flatMap(({ letter, message, marks }) =>
        remove([letter], ({ entry: { lane, shard } }) =>
          enqueue(broker, to, withMarks(toStored(message), marks), {
            lane,
            shard: to.ordered ? (message.partition ?? shard) : 0,
            delayMs: 0,
          }),
        ),
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

/** Numbers that compare as text. */
const placeOf = ({ letterId }: Letter): string => letterId.padStart(16, '0');

function toStoredLetter(letter: Letter): StoredLetter {
  return {
    letterId: letter.letterId,
    place: placeOf(letter),
    message: fromStored(letter.entry.message),
    lane: letter.entry.lane,
    deadAt: letter.deadAt,
    handle: letter,
  };
}
