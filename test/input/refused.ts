import { type Client, connect, defineTopic, isHoldfastError, type PublishOptions, type Topic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { afterEach, beforeEach, expect } from 'vitest';

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Refusing {
  readonly topic: Topic;
  readonly client: () => Client;
  /** What a refused publish says. Fails if it was accepted, or anything was stored. */
  readonly refusal: (payload: unknown, options?: PublishOptions) => Promise<Refusal>;
  /** What the topic's group receives next. */
  readonly received: () => Promise<{
    readonly payload: unknown;
    readonly key: string | undefined;
    readonly headers: object;
  }>;
}

/** A client of the memory broker for each test, and a topic that takes any payload. */
export function refusing(name: string): Refusing {
  const topic = defineTopic<unknown>(name, { groups: ['g'] });
  let client: Client;
  beforeEach(async () => {
    client = await connect({ adapter: memory() });
  });
  afterEach(() => client.close());
  return {
    topic,
    client: () => client,
    async refusal(payload, options) {
      const error: unknown = await client.publish(topic, payload, options).then(
        () => new Error('it was accepted'),
        (reason: unknown) => reason,
      );
      expect((await client.backlog(topic, 'g')).ready, 'nothing was stored').toBe(0);
      if (isHoldfastError(error)) {
        expect(error.outcome).toBe('not-sent');
        return { code: error.code, message: error.message, details: error.details };
      }
      if (error instanceof TypeError) return { code: 'TypeError', message: error.message, details: {} };
      throw error;
    },
    async received() {
      const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<Refusing['received']>>>();
      await client.consume(topic, { group: 'g' }, (message) => resolve(message));
      return promise;
    },
  };
}
