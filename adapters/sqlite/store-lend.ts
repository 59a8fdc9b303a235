import type { DatabaseSync } from 'node:sqlite';

export interface Lent {
  /** Behaves as the database until it is revoked, and so do the statements it prepared. */
  readonly tx: DatabaseSync;
  /** From now on every call throws. The first reason stays. */
  revoke(reason: string): void;
}

/** Calls whose results reach the database by themselves, so they are lent, too. */
const lending: readonly (string | symbol)[] = [
  'prepare',
  'createTagStore',
  'createSession',
  'iterate',
  Symbol.iterator,
];
const forbidden: readonly (string | symbol)[] = ['close', 'open', Symbol.dispose];

/**
 * Lends the connection for one transaction: a handler that goes on after its time is up must not write into the next.
 * Iterators that were not read to their end are closed: an open read would pin the connection to an old snapshot, and
 * no later transaction of it could write.
 */
export function lend(database: DatabaseSync): Lent {
  let ended: string | undefined;
  const iterators = new Set<Iterator<unknown>>();

  function guard<T extends object>(target: T): T {
    return new Proxy(target, {
      get(_, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== 'function') return value;
        return (...values: unknown[]): unknown => {
          if (ended !== undefined) throw revoked(ended);
          if (forbidden.includes(property)) {
            throw new TypeError(`tx.${String(property)}() is not yours to call: the connection is the store's.`);
          }
          const result: unknown = Reflect.apply(value, target, values);
          if (!lending.includes(property) || typeof result !== 'object' || result === null) return result;
          if (property === 'iterate') iterators.add(result as Iterator<unknown>);
          return guard(result);
        };
      },
    });
  }

  return {
    tx: guard(database),
    revoke(reason) {
      ended ??= reason;
      for (const iterator of iterators) iterator.return?.();
      iterators.clear();
    },
  };
}

function revoked(reason: string): Error {
  return Object.assign(new Error(`This transaction can no longer be used: ${reason}`), { name: 'TransactionRevoked' });
}
