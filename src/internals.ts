import type { Client } from './client.ts';
import type { Emitter } from './events.ts';
import type { OutboxRow, OutboxShape } from './port.ts';
import type { Receipt } from './publish/receipt.ts';
import type { Topic } from './topic.ts';

/** What a relay needs of a client beyond its public face. */
export interface ClientInternals {
  readonly emitter: Emitter;
  readonly crashPoint: ((name: string) => void | Promise<void>) | undefined;
  publishRow(row: OutboxRow, shape: OutboxShape, timeoutMs: number, signal?: AbortSignal): Promise<Receipt>;
  declareTopics(topics: readonly Topic[]): Promise<void>;
  /** Runs when the client closes, before its publisher drains. Returns the unregisterer. */
  onClose(stop: () => Promise<void>): () => void;
}

const internals = new WeakMap<object, ClientInternals>();

/** What relays may use of a client beyond its public face. */
export function internalsOf(client: Client): ClientInternals {
  const found = internals.get(client);
  if (found === undefined) throw new TypeError('client must be what connect() returned');
  return found;
}

export const setInternals = (client: Client, inside: ClientInternals): void => void internals.set(client, inside);
