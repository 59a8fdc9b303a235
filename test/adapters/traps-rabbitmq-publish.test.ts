import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import type { Client } from '../../src/client.ts';
import { defineTopic } from '../../src/define-topic.ts';
import type { Topic } from '../../src/topic.ts';
import { startProxy } from '../fleet/proxy.ts';
import { closeAll, managementApi, operator, rabbitmqUrl, say, until, versionOf } from './rabbitmq-fixture.ts';
import { connect } from './traps-connect.ts';

afterEach(closeAll);

const managementUrl = () => process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL ?? '';

describe('rabbitmq: what the broker confirms', () => {
  it('Trap 2: an unroutable mandatory publish is acked by the broker, and rejected by us', async () => {
    const { connection } = await operator();
    const channel = await connection.createConfirmChannel();
    const exchange = `trap-${randomUUID()}`;
    await channel.assertExchange(exchange, 'fanout', { durable: true });
    const answers: string[] = [];
    channel.on('return', () => answers.push('return'));
    channel.publish(exchange, '', Buffer.from('lost'), { mandatory: true }, (error) =>
      answers.push(error ? 'nack' : 'ack'),
    );
    await until(() => answers.length === 2);
    expect(answers).toEqual(['return', 'ack']);
    await channel.deleteExchange(exchange);

    const topic = defineTopic<string>(exchange, { groups: {} });
    await using client = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
    for (const publish of [() => client.publish(topic, 'alone'), () => client.publish(topic, 'late', { delayMs: 0 })]) {
      await expect(publish()).rejects.toMatchObject({ code: 'unroutable', outcome: 'not-sent' });
    }
    const several = await client.publishAll(topic, ['a', 'b', 'c']);
    expect(several.map((result) => !result.ok && result.error)).toMatchObject(
      Array(3).fill({ code: 'unroutable', outcome: 'not-sent' }),
    );
  });

  it('Trap 54: of two groups one loses its binding under load: its loss ends by itself, is told, and touches nobody else', async () => {
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { one: {}, two: {} } });
    const warnings: string[] = [];
    const adapter = rabbitmq({ url: rabbitmqUrl(), management: { url: managementUrl() } });
    await using client = await connect({ adapter });
    client.on('warning', ({ code, detail }) => warnings.push(`${code}: ${detail}`));
    const seen = { one: new Set<string>(), two: new Set<string>() };
    await client.consume(topic, { group: 'one' }, ({ id }) => void seen.one.add(id));
    await client.consume(topic, { group: 'two' }, ({ id }) => void seen.two.add(id));

    const confirmed: string[] = [];
    const load = new AbortController();
    const loading = (async () => {
      while (!load.signal.aborted) {
        const id = `m-${confirmed.length}`;
        await client.publish(topic, id, { id });
        confirmed.push(id);
        await pause(5);
      }
    })();
    try {
      await until(() => seen.one.size > 20 && seen.two.size > 20);
      const { channel } = await operator();
      await channel.unbindQueue(`${topic.name}:two`, topic.name, '');
      const before = confirmed.length;
      // Published after the unbinding: bound again is what has come of it.
      await until(() => [...seen.two].some((id) => Number(id.slice(2)) > before + 1), 60_000);
    } finally {
      load.abort();
      await loading;
    }
    // The broker confirmed each, and returned none.
    await until(() => seen.one.size === confirmed.length);
    await until(() => seen.two.has(confirmed.at(-1)!));
    const lost = confirmed.flatMap((id, index) => (seen.two.has(id) ? [] : [index]));
    expect(lost.length).toBeGreaterThan(0);
    expect(lost).toEqual(Array.from({ length: lost.length }, (_, index) => lost[0]! + index));
    const restored = () => warnings.filter((text) => text.startsWith('binding-restored'));
    await until(() => restored().length > 0);
    expect(restored()).toEqual([expect.stringContaining(`"${topic.name}:two"`)]);
    say(await versionOf(), `without its binding a group lost ${lost.length} of ${confirmed.length} confirmed messages`);
  }, 120_000);

  it('Trap 55: the middle message of a key that is lost on its way, or whose confirm is, is sent again before its successors', async () => {
    for (const lost of ['up', 'down'] as const) {
      const proxy = await startProxy({ target: rabbitmqUrl() });
      try {
        await using scene = await orderedScene({ url: proxy.url, heartbeatSeconds: 1 });
        for (let n = 0; n < 5; n++) await scene.publish(n);
        proxy.halfOpen(lost);
        const rest: Promise<unknown>[] = [];
        for (let n = 5; n < 15; n++) {
          rest.push(scene.publish(n));
          await new Promise(setImmediate);
        }
        await Promise.all(rest);
        await until(() => scene.firsts().length === 15);
        expect(scene.firsts()).toEqual(Array.from({ length: 15 }, (_, n) => n));
        // Stored, and its confirm lost: it comes twice.
        if (lost === 'down') expect(scene.calls.filter((n) => n === 5).length).toBeGreaterThan(1);
      } finally {
        await proxy.stop();
      }
    }
  });

  it('Trap 55: the middle message of a key that the broker nacks is sent again before its successors', async () => {
    await using scene = await orderedScene({ url: rabbitmqUrl() });
    const { channel } = await operator();
    const full = `${scene.topic.name}-full`;
    await channel.assertQueue(full, {
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-max-length': 3, 'x-overflow': 'reject-publish' },
    });
    await channel.bindQueue(full, scene.topic.name, '');
    const published = Promise.all(Array.from({ length: 20 }, (_, n) => scene.publish(n)));
    // Stored for the group, refused by the full queue: nacked, so it is sent again and comes twice.
    const twice = await until(() => scene.calls.filter((n, index) => scene.calls.indexOf(n) !== index).length > 1);
    expect(twice).toBe(true);
    expect(scene.firsts().length).toBeLessThan(20);
    await channel.deleteQueue(full);
    await published;
    await until(() => scene.firsts().length === 20);
    expect(scene.firsts()).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });

  it('Trap 55: the middle message of a key that its handler refuses is handled before its successors', async () => {
    await using scene = await orderedScene({ url: rabbitmqUrl() }, (n, attempt) => {
      if (n % 10 === 5 && attempt < 4) throw new Error('not yet');
    });
    await Promise.all(Array.from({ length: 20 }, (_, n) => scene.publish(n)));
    await until(() => scene.firsts().length === 20);
    expect(scene.firsts()).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(scene.attempts).toBe(26);
  });
});

interface OrderedScene extends AsyncDisposable {
  readonly topic: Topic<string>;
  /** Numbers as handled, repeats too. */
  readonly calls: readonly number[];
  readonly attempts: number;
  firsts(): readonly number[];
  publish(n: number): Promise<unknown>;
}

/** One key, published over one connection and handled over another. */
async function orderedScene(
  options: { readonly url: string; readonly heartbeatSeconds?: number },
  handle: (n: number, attempt: number) => void = () => {},
): Promise<OrderedScene> {
  const topic = defineTopic<string>(`trap-${randomUUID()}`, {
    key: () => 'one key',
    groups: { g: { order: 'key' } },
    partitions: 2,
  });
  const publisher: Client = await connect({ adapter: rabbitmq(options) });
  const consumer: Client = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
  const calls: number[] = [];
  let attempts = 0;
  const retry = { immediate: { retries: 1, firstMs: 1 }, delays: [20, 20] };
  await consumer.consume(topic, { group: 'g', retry }, ({ payload, attempt }) => {
    const n = Number(payload.split(' ')[1]);
    attempts += 1;
    handle(n, attempt);
    calls.push(n);
  });
  return {
    topic,
    calls,
    get attempts() {
      return attempts;
    },
    firsts: () => [...new Set(calls)],
    publish: (n) => publisher.publish(topic, `payload ${n}`, { id: `m-${n}`, timeoutMs: 30_000 }),
    async [Symbol.asyncDispose]() {
      await Promise.all([publisher.close({ drainMs: 0 }), consumer.close()]);
    },
  };
}

describe('rabbitmq: what is declared', () => {
  it('Trap 6: no queue of ours dead-letters at least once without reject-publish, or has x-max-priority', async () => {
    const version = await versionOf();
    // What the broker itself says to both.
    const { connection, channel } = await operator();
    const quorum = { 'x-queue-type': 'quorum' };
    const silent = `trap-${randomUUID()}`;
    await channel.assertQueue(silent, {
      durable: true,
      arguments: { ...quorum, 'x-dead-letter-strategy': 'at-least-once', 'x-dead-letter-exchange': 'amq.fanout' },
    });
    await channel.deleteQueue(silent);
    const other = await connection.createChannel();
    other.on('error', () => {});
    const declared = await other
      .assertQueue(`trap-${randomUUID()}`, { durable: true, arguments: { ...quorum, 'x-max-priority': 5 } })
      .then(
        async ({ queue }) => {
          await other.deleteQueue(queue);
          return 'accepts';
        },
        () => 'refuses',
      );
    say(
      version,
      `takes at-least-once without reject-publish without a word; ${declared} x-max-priority on a quorum queue`,
    );
    expect(declared).toBe('refuses');

    const topic = defineTopic<string>(`trap-${randomUUID()}`, {
      key: (payload) => payload,
      priority: 'normal',
      groups: { board: { order: 'key' }, mail: {} },
      partitions: 2,
    });
    await using client = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
    const retry = { immediate: { retries: 0 }, delays: [10] };
    await client.consume(topic, { group: 'mail', retry }, () => {
      throw new Error('to the rungs, then to the dead');
    });
    await client.consume(topic, { group: 'board', retry }, () => {
      throw new Error('to the dead');
    });
    await client.publish(topic, 'a');
    await until(async () => {
      const dead = await Promise.all(['mail', 'board'].map((group) => client.deadLetters(topic, group).count()));
      return dead.every((count) => count === 1);
    });

    const all = (await managementApi('GET', '/queues/%2F')) as readonly Queue[];
    const ours = all.filter(({ name }) => name.startsWith(`${topic.name}:`));
    const kinds = [':mail', ':mail:high', ':mail:low', ':board:0', ':board:1:low', ':mail:dead', ':mail:retry:250'];
    expect(ours.map(({ name }) => name)).toEqual(expect.arrayContaining(kinds.map((kind) => `${topic.name}${kind}`)));
    for (const { name, arguments: args, durable } of ours) {
      expect({ name, durable, type: args['x-queue-type'] }).toEqual({ name, durable: true, type: 'quorum' });
      expect(args).not.toHaveProperty('x-max-priority');
      const deadLetters = 'x-dead-letter-exchange' in args;
      expect({ name, strategy: args['x-dead-letter-strategy'], overflow: args['x-overflow'] }).toEqual({
        name,
        strategy: deadLetters ? 'at-least-once' : undefined,
        overflow: deadLetters ? 'reject-publish' : undefined,
      });
      // Unlimited is -1 from 4.0 on; there it would be 20 without. Before, -1 would drop at the first return.
      expect({ name, limit: args['x-delivery-limit'] }).toEqual({ name, limit: version.atLeast(4) ? -1 : undefined });
    }
    // And nobody can ask for either.
    for (const key of ['maxPriority', 'overflow', 'deadLetterStrategy', 'queueArguments', 'arguments']) {
      expect(() => rabbitmq({ url: rabbitmqUrl(), [key]: 1 })).toThrow(`no option "${key}"`);
    }
  });
});

interface Queue {
  readonly name: string;
  readonly durable: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
}
