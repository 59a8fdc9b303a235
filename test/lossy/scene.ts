/** A server that can be broken in the one way that a setting loses by, and read past holdfast. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { KafkaOptions } from 'holdfast/kafka';
import type { RedisOptions } from 'holdfast/redis';

/** How the publishing process reaches the server; it is given as JSON. */
export type Link =
  | { readonly via: 'redis'; readonly options: RedisOptions }
  | { readonly via: 'kafka'; readonly options: KafkaOptions }
  | { readonly via: 'postgres'; readonly url: string };

export interface Scene {
  /** The server's, exact. */
  readonly version: string;
  readonly link: Link;
  /** Before a round, whose topic nobody has used. */
  prepare(topic: string, round: number): Promise<void>;
  /** Breaks the server; gives the time just before the kill, of the ledger's clock. `chance`, from 0 to 1, is the seed's. */
  strike(topic: string, chance: number): Promise<number>;
  /** Until it serves clients as before. */
  recover(topic: string): Promise<void>;
  /** Ids of what it has of the topic, one as often as it is there. By the server's own client. */
  found(topic: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** Waits for what nothing announces; rejects by naming it. A question that fails is asked again. */
export async function until(what: string, holds: () => Promise<boolean>, withinMs: number = 60_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  let failure: unknown;
  for (;;) {
    const held = await holds().catch((error: unknown) => {
      failure = error;
      return false;
    });
    if (held) return;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${withinMs} ms`, { cause: failure });
    await sleep(50);
  }
}
