import type { Client, ClientInternals } from './client.ts';

const internals = new WeakMap<object, ClientInternals>();

/** What relays may use of a client beyond its public face. */
export function internalsOf(client: Client): ClientInternals {
  const found = internals.get(client);
  if (found === undefined) throw new TypeError('client must be what connect() returned');
  return found;
}

export const setInternals = (client: Client, inside: ClientInternals): void => void internals.set(client, inside);
