import type { Halt, HaltedKey, HaltStore } from '../port.ts';

interface Standing {
  readonly of: HaltedKey;
  readonly haltedAt: number;
  releasing: boolean;
  /** Tokens by message, in the order in which they wait. */
  readonly waiting: Map<string, string>;
}

/** In this process only, and gone with it: for tests, and brokers in memory. */
export function memoryHalts(): HaltStore {
  const standing = new Map<string, Standing>();
  const nameOf = ({ group, topic, key }: HaltedKey): string => JSON.stringify([group, topic, key]);
  const summary = ({ of, haltedAt, releasing, waiting }: Standing): Halt => ({
    key: of.key,
    haltedAt,
    releasing,
    parked: waiting.size,
  });

  function remove(key: HaltedKey, message: string): void {
    const found = standing.get(nameOf(key));
    found?.waiting.delete(message);
    if (found?.waiting.size === 0) standing.delete(nameOf(key));
  }

  return {
    async halted(of, keys) {
      return keys.map((key) => standing.has(nameOf({ ...of, key })));
    },
    async halt(key, message, token) {
      const found = standing.get(nameOf(key)) ?? {
        of: key,
        haltedAt: Date.now(),
        releasing: false,
        waiting: new Map(),
      };
      found.releasing = false;
      found.waiting.set(message, token);
      standing.set(nameOf(key), found);
    },
    async admit(key, message, token) {
      const found = standing.get(nameOf(key));
      if (found === undefined) return 'free';
      found.waiting.set(message, token);
      return found.releasing && found.waiting.keys().next().value === message ? 'next' : 'parked';
    },
    async through(key, message) {
      remove(key, message);
    },
    async withdraw(key, message, token) {
      if (standing.get(nameOf(key))?.waiting.get(message) === token) remove(key, message);
    },
    async release(key) {
      const found = standing.get(nameOf(key));
      if (found !== undefined) found.releasing = true;
      return found !== undefined;
    },
    async parked(key, limit) {
      const found = standing.get(nameOf(key));
      return found && { ...summary(found), messages: [...found.waiting.keys()].slice(0, limit) };
    },
    async list({ group, topic }) {
      return [...standing.values()].filter(({ of }) => of.group === group && of.topic === topic).map(summary);
    },
  };
}
