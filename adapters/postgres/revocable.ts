export interface Revocable<T> {
  /** Behaves as the target until it is revoked. */
  readonly proxy: T;
  /** From now on every call throws. The first reason stays. */
  revoke(reason: string): void;
}

/**
 * Lends an object for a while: a handler that goes on after its time is up must not write by a connection that serves
 * somebody else by then.
 *
 * Calls throw synchronously, so that a call nobody awaits cannot become an unhandled rejection.
 */
export function revocable<T extends object>(target: T, forbidden: readonly string[]): Revocable<T> {
  let ended: string | undefined;
  const proxy: T = new Proxy(target, {
    get(_, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      return (...values: unknown[]): unknown => {
        if (ended !== undefined) throw revoked(ended);
        if (forbidden.includes(String(property))) {
          throw new TypeError(`tx.${String(property)}() is not yours to call: the store ends what it began.`);
        }
        const result: unknown = Reflect.apply(value, target, values);
        return result === target ? proxy : result;
      };
    },
  });
  return {
    proxy,
    revoke(reason) {
      ended ??= reason;
    },
  };
}

function revoked(reason: string): Error {
  return Object.assign(new Error(`This transaction can no longer be used: ${reason}`), { name: 'TransactionRevoked' });
}
