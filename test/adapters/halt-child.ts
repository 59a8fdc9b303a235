/** A consumer, or a release, in a process of its own, which kills itself at a given step: started by halt-kills.test.ts. */

import { appendFileSync, existsSync } from 'node:fs';
import { kafka } from '../../adapters/kafka/index.ts';
import { sqliteStore } from '../../adapters/sqlite/index.ts';
import { type Client, type ConsumeOptions, connect, defineTopic, type Topic } from '../../src/index.ts';
import type { BrokerAdapter, HaltStore } from '../../src/port.ts';
import { adapterFromUrl } from '../../src/schemes.ts';

export interface Numbered {
  readonly n: number;
}
/** Where everybody is. */
export interface Place {
  readonly url: string;
  readonly folder: string;
  readonly topic: string;
}
/** At its `nth` time there, the process dies. */
export interface Death {
  readonly point: string;
  readonly nth: number;
}

export const FAILS = 1;
export const topicOf = ({ topic }: Place): Topic<Numbered> =>
  defineTopic<Numbered>(topic, { key: () => 'k', partitions: 1, groups: { g: { order: 'key' } } });

export async function adapterOf({ url }: Place): Promise<BrokerAdapter> {
  return url.startsWith('kafka:') ? kafka({ brokers: url, sessionTimeoutMs: 6_000 }) : adapterFromUrl(url);
}

/** While there is a file `broken`, one message cannot be handled. What is handled is a line of `handled`. */
export async function consumeAt(client: Client, place: Place, halts: HaltStore): Promise<void> {
  const options: ConsumeOptions = {
    group: 'g',
    leaseMs: 1_500,
    onExhausted: 'halt-key',
    halts,
    retry: { immediate: { retries: 0 }, delays: [] },
  };
  await client.consume(topicOf(place), options, ({ payload: { n } }) => {
    if (n === FAILS && existsSync(`${place.folder}/broken`)) throw new Error('not now');
    appendFileSync(`${place.folder}/handled`, `${n}\n`);
  });
}

if (import.meta.main) {
  const [place, role, { point, nth }] = JSON.parse(process.argv[2]!) as [Place, 'consume' | 'release', Death];
  let times = 0;
  const client = await connect({
    adapter: await adapterOf(place),
    crashPoint(name) {
      if (name !== point) return;
      times += 1;
      if (times === nth) process.kill(process.pid, 'SIGKILL');
    },
  });
  const store = sqliteStore({ path: `${place.folder}/store.db` });
  if (role === 'consume') await consumeAt(client, place, store.halts);
  else {
    await client.deadLetters(topicOf(place), 'g').release('k', { halts: store.halts });
    process.exit(0);
  }
}
