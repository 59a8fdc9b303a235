import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { rabbitmq, rabbitmqDefinitions } from '../../adapters/rabbitmq/index.ts';
import { harmOf } from '../../adapters/rabbitmq/policies.ts';
import { connect } from '../../src/connect.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { startProxy } from '../fleet/proxy.ts';
import {
  closeAll,
  consume,
  managementApi,
  open,
  operator,
  publish,
  rabbitmqUrl,
  say,
  texts,
  topologyOf,
  until,
  versionOf,
} from './rabbitmq-fixture.ts';

afterEach(closeAll);

const management = { url: process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL ?? '' };

async function namesOf(topic: string): Promise<readonly string[]> {
  const [queues, exchanges] = (await Promise.all([
    managementApi('GET', '/queues/%2F?disable_stats=true&enable_queue_totals=true'),
    managementApi('GET', '/exchanges/%2F'),
  ])) as readonly (readonly { readonly name: string }[])[];
  const ours = ({ name }: { readonly name: string }): boolean => name === topic || name.startsWith(`${topic}:`);
  return [
    ...queues!.filter(ours).map(({ name }) => `queue ${name}`),
    ...exchanges!.filter(ours).map(({ name }) => `exchange ${name}`),
  ].sort();
}

describe('rabbitmq: a group that is consumed for the first time', () => {
  it('is consumed although the connection is lost while its dead-letter queue is declared', async () => {
    const proxy = await startProxy({ target: rabbitmqUrl() });
    try {
      const { adapter } = await open({ url: proxy.url, heartbeatSeconds: 1 });
      const topology = topologyOf({ one: 'unordered' });
      await adapter.declare(topology);
      let lost = 0;
      proxy.swallow((sent) => sent.includes(`${topology.topic}:one:dead`) && ++lost === 1);
      const consumer = await consume(adapter, topology, 'one');
      expect(lost).toBeGreaterThan(1);
      await until(async () => (await publish(adapter, texts(topology, ['a'])))[0]!.kind === 'confirmed');
      await until(() => consumer.received.length > 0);
    } finally {
      await proxy.stop();
    }
  });
});

describe('rabbitmq: clients that may not declare', () => {
  it('verify: a group without its dead-letter queue is refused before its first message, by name', async () => {
    const { adapter } = await open();
    const { adapter: verifier } = await open({ hooks: { declare: 'verify' } });
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    await verifier.declare(topology);
    const error = await consume(verifier, topology, 'one').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ adapterCode: 'topology-missing' });
    expect((error as Error).message).toContain(`queue "${topology.topic}:one:dead"`);
    expect((error as Error).message).toContain('rabbitmqDefinitions');
    await (await consume(adapter, topology, 'one')).source.stop();
    await (await consume(verifier, topology, 'one')).source.stop();
  });

  it('S6: verify: what is gone when it is looked for again is a warning by name, and is not created', async () => {
    const proxy = await startProxy({ target: rabbitmqUrl() });
    try {
      const { adapter } = await open();
      const { adapter: verifier, events } = await open({ url: proxy.url, hooks: { declare: 'verify' } });
      const topology = topologyOf({ one: 'unordered', two: 'unordered' });
      await adapter.declare(topology);
      await verifier.declare(topology);
      await adapter.close();
      const { channel } = await operator();
      await channel.deleteQueue(`${topology.topic}:two`);
      proxy.reset();
      const warning = await until(() => events.find((event) => event.type === 'warning'));
      expect(warning).toMatchObject({
        code: 'topology',
        detail: expect.stringContaining(`no queue "${topology.topic}:two"`),
      });
      expect(await namesOf(topology.topic)).not.toContain(`queue ${topology.topic}:two`);
      expect(await publish(verifier, texts(topology, ['a']))).toEqual([{ kind: 'confirmed' }]);
    } finally {
      await proxy.stop();
    }
  });

  it.for(['verify', 'none'] as const)(
    '%s: a retry whose rungs are missing keeps its message, names them, and is red until they are there',
    async (declare) => {
      const { adapter: creator } = await open();
      const { adapter, events } = await open({ hooks: { declare } });
      const topology = topologyOf({ one: 'unordered' });
      await creator.declare(topology);
      await (await consume(creator, topology, 'one')).source.stop();
      await adapter.declare(topology);
      await publish(creator, texts(topology, ['a']));
      const consumer = await consume(adapter, topology, 'one');
      await until(() => consumer.received.length === 1);
      const retry = (delayMs: number) =>
        consumer.settleAs([{ kind: 'retry', delivery: consumer.received.at(-1)!, delayMs, marks: { n: '1' } }]);
      expect(await retry(1_200)).toEqual(['unknown']);
      const ladder = `${topology.topic}:one:retry`;
      const named =
        declare === 'verify'
          ? [`exchange "${ladder}"`, `queue "${ladder}:1000"`, `queue "${ladder}:250"`]
          : [`no exchange '${ladder}'`];
      const failed = events.find((event) => event.type === 'warning' && event.code === 'copy-failed');
      for (const name of named) expect(failed?.detail).toContain(name);
      expect((await adapter.health()).checks).toContainEqual(
        expect.objectContaining({ name: 'copy-failed', ok: false }),
      );

      await until(() => consumer.received.length === 2);
      const other = await consume(creator, topology, 'one', { prefetch: 1 });
      await publish(creator, texts(topology, ['b']));
      await until(() => other.received.length === 1 || consumer.received.length === 3);
      const [held] = other.received;
      // Makes the rungs, by a retry of its own.
      if (held) await other.settleAs([{ kind: 'retry', delivery: held, delayMs: 1_200, marks: {} }]);
      else await publish(creator, texts(topology, ['c']));
      await until(async () => {
        if (other.received.length > 0 && held === undefined) {
          await other.settleAs([{ kind: 'retry', delivery: other.received[0]!, delayMs: 1_200, marks: {} }]);
        }
        return (await namesOf(topology.topic)).includes(`queue ${ladder}:1000`);
      });
      await other.source.stop();
      await until(async () => (await retry(1_200))[0] === 'settled');
      expect((await adapter.health()).checks.filter(({ ok }) => !ok)).toEqual([]);
    },
  );

  it('rabbitmqDefinitions is all that a topic needs, imported by the broker, and nothing besides', async () => {
    const version = await versionOf();
    const topic = defineTopic<string>(`t.${randomUUID()}`, {
      key: (payload) => payload,
      priority: 'normal',
      partitions: 2,
      groups: { mail: {}, board: { order: 'key' } },
    });
    const plain = defineTopic<string>(`t.${randomUUID()}`, { groups: ['mail'] });
    const keyed = defineTopic<string>(`t.${randomUUID()}`, {
      key: (payload) => payload,
      groups: { board: { order: 'key' } },
    });
    const topics = [topic, plain, keyed];
    const options = { retryDelaysMs: [100, 1_200], publishDelaysMs: [100], major: version.atLeast(4) ? 4 : 3 };
    await managementApi('POST', '/definitions/%2F', await rabbitmqDefinitions(topics, options));
    const before = await Promise.all(topics.map(({ name }) => namesOf(name)));

    await using client = await connect({ adapter: rabbitmq({ url: rabbitmqUrl(), management }), declare: 'verify' });
    const retry = { immediate: { retries: 0 }, delays: [100, 1_200] };
    for (const each of topics) {
      for (const group of each === plain ? ['mail'] : each === keyed ? ['board'] : ['mail', 'board']) {
        await client.consume(each, { group, retry }, () => {
          throw new Error('through all rungs, to the dead');
        });
      }
      await client.publish(each, 'now');
      if (each === plain) await client.publish(each, 'later', { delayMs: 100 });
    }
    await until(async () => (await client.deadLetters(topic, 'mail').count()) === 1);
    await until(async () => (await client.deadLetters(topic, 'board').count()) === 1);
    await until(async () => (await client.deadLetters(keyed, 'board').count()) === 1);
    await until(async () => (await client.deadLetters(plain, 'mail').count()) === 2);
    expect(await Promise.all(topics.map(({ name }) => namesOf(name)))).toEqual(before);

    // One that declares finds it as it would have made it.
    await using creator = await connect({ adapter: rabbitmq({ url: rabbitmqUrl() }) });
    for (const each of topics) await creator.publish(each, 'again');
    expect(await Promise.all(topics.map(({ name }) => namesOf(name)))).toEqual(before);
  }, 180_000);

  it('rabbitmqDefinitions has the rungs of each walk of a retry beyond the longest path', async () => {
    const day = 86_400_000;
    const { bindings } = await rabbitmqDefinitions(defineTopic<string>('t', { groups: ['g'] }), {
      retryDelaysMs: [130 * day],
    });
    const ladder = 't:g:retry';
    const leads = (source: string, to: string, key: string): boolean =>
      bindings.some((one) => one.source === source && one.destination === to && one.routing_key === key);
    // Twice 60 days, then 10.
    for (const rungs of [
      [32, 16, 8, 4],
      [8, 2],
    ].map((days) => days.map((count) => count * day))) {
      for (const [index, rung] of rungs.entries()) {
        const before = rungs[index - 1];
        const [source, key] =
          before === undefined ? [ladder, `*.*.${rung}.#`] : [`${ladder}:${before}`, `*.*.#.${before}.${rung}.#`];
        expect(leads(source, `${ladder}:${rung}`, key), `${before} to ${rung}`).toBe(true);
      }
      expect(leads(`${ladder}:${rungs.at(-1)}`, 't:g', `#.${rungs.at(-1)}`)).toBe(true);
    }
  });
});

describe('rabbitmq: policies', () => {
  it('a delivery limit by policy drops messages whatever the queue says: health is red where we may ask', async () => {
    const version = await versionOf();
    const { adapter } = await open({ management });
    const topology = topologyOf({ one: 'unordered' });
    await adapter.declare(topology);
    const check = async () => (await adapter.health()).checks.filter(({ ok }) => !ok);
    expect(await check()).toEqual([]);
    const queue = `${topology.topic}:one`;
    const set = (definition: object) =>
      managementApi('PUT', `/policies/%2F/${topology.topic}`, {
        pattern: `^${topology.topic.replaceAll('.', '\\.')}:`,
        definition,
        'apply-to': 'queues',
        priority: 9,
      });
    const found = async (name: string, detail: string) =>
      await until(async () => {
        await adapter.declare(topology);
        return (await check()).some((each) => each.name === name && each.detail?.includes(detail));
      });
    try {
      await set({ 'delivery-limit': 3 });
      await found('delivery-limit', queue);
      // And it is so: gone with the fourth return, though its argument is -1.
      const { channel } = await operator();
      await publish(adapter, texts(topology, ['a']));
      for (let round = 0; round < 4; round++) {
        const taken = await until(() => channel.get(queue));
        channel.reject(taken, true);
      }
      await until(async () => (await channel.checkQueue(queue)).messageCount === 0);
      expect(await channel.get(queue)).toBe(false);
      say(version, 'a policy with delivery-limit 3 drops at the fourth return, whatever the argument says');
    } finally {
      await managementApi('DELETE', `/policies/%2F/${topology.topic}`);
    }
    await until(async () => {
      await adapter.declare(topology);
      return (await check()).length === 0;
    });
  }, 180_000);

  it.for([
    [{ 'delivery-limit': 0 }, 'delivery-limit'],
    [{ 'delivery-limit': -1 }, undefined],
    [{ 'message-ttl': 1_000 }, 'message-ttl'],
    [{ expires: 1_000 }, 'expires'],
    [{ 'max-length': 10 }, 'max-length'],
    [{ 'max-length-bytes': 10, overflow: 'drop-head' }, 'max-length'],
    [{ 'max-length': 10, overflow: 'reject-publish' }, undefined],
    [{ 'queue-leader-locator': 'balanced', 'target-group-size': 3 }, undefined],
  ] as const)('knows of policy %o whether it breaks a promise: %s', ([policy, harm]) => {
    if (harm === undefined) expect(harmOf(policy)).toBeUndefined();
    else expect(harmOf(policy)).toContain(harm);
  });

  it('S17: a queue without x-delivery-limit is well where a policy takes the limit away', async () => {
    const version = await versionOf();
    const { adapter } = await open({ management });
    const topology = topologyOf({ one: 'unordered' });
    const { channel } = await operator();
    await channel.assertQueue(`${topology.topic}:one`, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await adapter.declare(topology);
    const red = async () => (await adapter.health()).checks.filter(({ ok }) => !ok).map(({ name }) => name);
    if (!version.atLeast(4)) {
      // It has no limit, and refuses such a policy.
      expect(await red()).toEqual([]);
      say(version, 'needs no policy to have no delivery limit');
      return;
    }
    await until(async () => (await red()).includes('delivery-limit'));
    const pattern = `^${topology.topic.replaceAll('.', '\\.')}:`;
    const body = { pattern, definition: { 'delivery-limit': -1 }, 'apply-to': 'queues', priority: 9 };
    await managementApi('PUT', `/policies/%2F/${topology.topic}`, body);
    try {
      await until(async () => {
        await adapter.declare(topology);
        return (await red()).length === 0;
      });
    } finally {
      await managementApi('DELETE', `/policies/%2F/${topology.topic}`);
    }
  });
});
