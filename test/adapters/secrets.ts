import { inspect } from 'node:util';
import { type Client, connect, defineTopic, type EventName } from 'holdfast';
import { expect } from 'vitest';
import type { BrokerAdapter } from '../../src/port.ts';
import { until } from '../conformance/until.ts';
import { type FaultProxy, startProxy } from '../fleet/proxy.ts';
import { CANARY } from '../input/canary.ts';

/** Where no server listens, nor will: a port that is free now may be given to another run's server in a moment. */
export const DESERTED_PORT = 1;

/** Everything that may end in a log, kept as text; and a way to say that the password is in none of it. */
export function seen(): { add(what: string, thing: unknown): void; holdsNoPassword(): void } {
  const texts: (readonly [what: string, text: string])[] = [];
  return {
    add(what, thing) {
      texts.push([what, inspect(thing, { depth: 20 })], [what, String(thing)]);
      if (thing instanceof Error) texts.push([`stack of ${what}`, thing.stack ?? '']);
    },
    holdsNoPassword() {
      expect(texts.length).toBeGreaterThan(0);
      // Not the texts themselves: what fails here is printed.
      expect(texts.filter(([, text]) => text.includes(CANARY)).map(([what]) => what)).toEqual([]);
    },
  };
}

/** `failed` hands over what the handler has thrown, as it is: it is the handler's own. */
const EVENTS: readonly EventName[] = ['connection', 'warning', 'publish-retry', 'breaker', 'dead-lettered', 'error'];

/** A login that is refused, and a server that is not there: both say why, neither shows the password. */
export async function refusedLogin(adapter: BrokerAdapter): Promise<{ readonly code: string }> {
  const all = seen();
  all.add('adapter', adapter);
  const error: unknown = await connect({ adapter }).then(
    (client) => client.close().then(() => new Error('the login was taken')),
    (reason: unknown) => reason,
  );
  all.add('error', error);
  all.add('adapter', adapter);
  all.add('health', await adapter.health().catch((reason: unknown) => reason));
  all.holdsNoPassword();
  return error as { code: string };
}

/** A client whose login is taken: through an outage, failing handlers and its close, none of what it shows is the password. */
export async function workingLogin(server: string, make: (proxy: FaultProxy) => BrokerAdapter): Promise<void> {
  const all = seen();
  const proxy = await startProxy({ target: server });
  const adapter = make(proxy);
  const topic = defineTopic<number>(`secrets-${crypto.randomUUID()}`, { groups: ['g'] });
  let client: Client | undefined;
  try {
    client = await connect({ adapter });
    const events: string[] = [];
    for (const name of EVENTS) {
      client.on(name, (event) => {
        events.push(name);
        all.add(name, event);
      });
    }
    const consumer = await client.consume(
      topic,
      { group: 'g', retry: { immediate: { retries: 0 }, delays: [] } },
      () => {
        throw new Error(`no amqp://user:${CANARY}@host, password=${CANARY}`);
      },
    );
    await client.publish(topic, 1);
    await until('the dead letter', () => events.includes('dead-lettered'));
    for await (const letter of client.deadLetters(topic, 'g').list()) all.add('letter', letter);
    proxy.blackHole();
    proxy.reset();
    await until('the outage', () => events.includes('connection'));
    all.add('late publish', await client.publish(topic, 2, { timeoutMs: 300 }).catch((reason: unknown) => reason));
    all.add('health', await client.health());
    all.add('backlog', await client.backlog(topic, 'g').catch((reason: unknown) => reason));
    proxy.heal();
    await until(
      'the connection',
      async () => (await client!.health()).checks.find(({ name }) => name === 'connection')?.ok === true,
    );
    for (const [what, thing] of Object.entries({ client, adapter, consumer, topic })) all.add(what, thing);
  } finally {
    await client?.close();
    await proxy.stop();
  }
  all.holdsNoPassword();
}
