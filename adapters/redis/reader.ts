import type { Redis } from 'ioredis';
import { type Link, openLink, type RedisClass } from './connection.ts';
import type { Settings } from './options.ts';
import type { SettleNeeds } from './outages.ts';

/** What a source reads and settles with. */
export interface ConsumeNeeds extends SettleNeeds {
  readonly Client: RedisClass;
  /** Unique over all processes and subscriptions. */
  readonly consumer: string;
  readonly connectionName: string;
}

/** A connection of one source's own, for reads that block. */
export interface Reader {
  readonly link: Link;
  /** Runs a read that may block, and remembers that it does. */
  block<T>(read: Promise<T>): Promise<T>;
  /** Ends the blocking read that is going on, if one is: what it reads has changed. */
  interrupt(): void;
}

/** Longest block of one read: a dead connection is noticed soon after, and nothing waits longer for its turn. */
export const blockMs = (settings: Settings): number => Math.min(1_000, settings.commandTimeoutMs >> 1);

export async function openReader(
  { Client, settings, connectionName, control }: ConsumeNeeds,
  on: { readonly up: (client: Redis) => Promise<void>; readonly down: () => void },
): Promise<Reader> {
  let clientId = 0;
  let blocked: Promise<unknown> | undefined;
  const link = await openLink(Client, settings, connectionName, {
    async onUp(client) {
      clientId = await client.client('ID');
      await on.up(client);
    },
    onDown: on.down,
  });

  async function unblock(read: Promise<unknown>): Promise<void> {
    // The request may overtake the read, which came by another connection: then it finds nobody blocked.
    for (let tries = 0; tries < 10 && blocked === read && !link.closed; tries++) {
      const found = await control.use((client) => client.client('UNBLOCK', clientId));
      if (Number(found) === 1) return;
      await new Promise((resolve) => setTimeout(resolve, 2 * (tries + 1)));
    }
  }

  return {
    link,
    async block(read) {
      blocked = read;
      try {
        return await read;
      } finally {
        if (blocked === read) blocked = undefined;
      }
    },
    interrupt() {
      // Without the right to unblock clients, the read ends by itself within a second.
      if (blocked) unblock(blocked).catch(() => {});
    },
  };
}
