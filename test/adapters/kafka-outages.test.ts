import { ConfigResourceTypes } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Server, startServer } from '../fleet/index.ts';
import {
  administer,
  type Consumer,
  connect,
  consume,
  keep,
  message,
  numbers,
  publish,
  settle,
  textOf,
  topologyOf,
  until,
} from './kafka-fixture.ts';

describe('when the broker goes away', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer('kafka', { own: true });
  });
  afterAll(() => server?.stop());

  it('Trap 44: settles every publish by its deadline, keeps what it confirmed, and resumes by itself', async () => {
    const { adapter } = await connect({ brokers: server.url });
    const topology = topologyOf({ partitions: 3 });
    await adapter.declare(topology);
    const { got } = await consume(adapter, topology);
    const confirmed = new Set<string>();
    const kinds = new Map<string, number>();
    let worstMs = 0;
    let stop = false;
    const work = numbers(8).map(async (worker) => {
      for (let i = 0; !stop; i++) {
        const text = `${worker}-${i}`;
        const began = Date.now();
        const [outcome] = await publish(adapter, [message(topology, text, { key: worker })], 4_000);
        worstMs = Math.max(worstMs, Date.now() - began);
        kinds.set(outcome!.kind, (kinds.get(outcome!.kind) ?? 0) + 1);
        if (outcome!.kind === 'confirmed') confirmed.add(text);
        else await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
    await until(() => confirmed.size > 200);
    await server.kill();
    await until(() => (kinds.get('rejected') ?? 0) + (kinds.get('unknown') ?? 0) > 10);
    expect((await adapter.health()).checks.every(({ ok }) => ok)).toBe(false);
    const before = confirmed.size;
    await server.restart();
    await until(
      () => confirmed.size > before + 200,
      () => [...kinds],
      40_000,
    );
    stop = true;
    await Promise.all(work);
    expect(worstMs).toBeLessThan(5_000);
    await until(
      () => [...confirmed].every((text) => got.some((one) => textOf(one) === text)),
      () => [got.length, confirmed.size],
      40_000,
    );
    // By key, of what was published once only: in order.
    for (const worker of numbers(8)) {
      const seen = [...new Set(got.filter((one) => one.message.key === worker).map(textOf))];
      expect(seen).toEqual(seen.toSorted((a, b) => Number(a.split('-')[1]) - Number(b.split('-')[1])));
    }
    await until(async () => (await adapter.health()).checks.every(({ ok }) => ok));
  }, 180_000);

  it('S11: what outlives its deadline does not land after its successors', async () => {
    const { adapter } = await connect({ brokers: server.url, requestTimeoutMs: 2_000 });
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    expect(await publish(adapter, [message(topology, 'm0', { key: 'k' })])).toMatchObject([{ kind: 'confirmed' }]);
    await server.pause();
    const began = Date.now();
    const [late, behind] = await Promise.all([
      publish(adapter, [message(topology, 'm1', { key: 'k' })], 1_000),
      publish(adapter, [message(topology, 'm2', { key: 'k' })], 1_200),
    ]);
    expect(Date.now() - began).toBeLessThan(2_200);
    expect(late[0]!.kind).toBe('unknown');
    expect(behind[0]!.kind).toBe('rejected');
    expect(adapter.isTransient((behind[0] as { error: unknown }).error)).toBe(true);
    await server.resume();
    await until(
      async () => (await publish(adapter, [message(topology, 'm3', { key: 'k' })], 10_000))[0]!.kind === 'confirmed',
    );
    const { got } = await consume(adapter, topology);
    await until(() => got.some((one) => textOf(one) === 'm3'));
    const texts = got.map(textOf);
    expect(texts[0]).toBe('m0');
    expect(texts).not.toContain('m2');
    expect(texts.indexOf('m3')).toBeGreaterThan(texts.indexOf('m1'));
  }, 120_000);

  it('after kill -9 and restart publishing and consuming go on without waiting for the old session to end', async () => {
    const { adapter } = await connect({ brokers: server.url, sessionTimeoutMs: 60_000 });
    const topologies = [topologyOf(), topologyOf({ ordered: true }), topologyOf({ lanes: true })];
    const consumers: Consumer[] = [];
    for (const topology of topologies) {
      await adapter.declare(topology);
      consumers.push(await consume(adapter, topology));
    }
    const round = (text: string) =>
      Promise.all(
        topologies.map((topology) =>
          until(
            async () => (await publish(adapter, [message(topology, text, { key: text })]))[0]!.kind === 'confirmed',
          ),
        ),
      );
    const handled = (text: string) =>
      until(
        () => consumers.every(({ texts }) => texts().includes(text)),
        () => text,
      );
    await round('before');
    await handled('before');
    // The second time the members are new ones, which the restarted broker knows from its log alone.
    for (const text of ['once', 'twice']) {
      await server.kill();
      await until(async () => !(await adapter.health()).checks.some(({ ok }) => ok));
      await server.restart();
      await round(text);
      await handled(text);
      await until(async () => (await adapter.health()).checks.every(({ ok }) => ok));
    }
  }, 180_000);

  it('hands out what a consumer had, once the broker is back, and calls what was out stale', async () => {
    const { adapter } = await connect({ brokers: server.url });
    const topology = topologyOf({ partitions: 1 });
    await adapter.declare(topology);
    await publish(
      adapter,
      numbers(3).map((text) => message(topology, text)),
    );
    const { source, got, revoked } = await consume(adapter, topology, { handle: keep });
    await until(() => got.length === 3);
    await server.kill();
    await until(
      () => revoked.includes(got[0]!.epoch),
      () => revoked,
      40_000,
    );
    expect(await settle(source, { kind: 'done', delivery: got[0]! })).toEqual(['stale']);
    await server.restart();
    await until(
      () => got.length === 6,
      () => got.length,
      60_000,
    );
    expect(got.slice(3).map(({ redelivered }) => redelivered)).toEqual([true, true, true]);
    expect(await settle(source, { kind: 'done', delivery: got[3]! })).toEqual(['settled']);
  }, 180_000);
});

describe('what the broker refuses', () => {
  it('Trap 20: is rejected for good, and concerns its own partition alone', async () => {
    const { adapter } = await connect();
    const [narrow, wide] = [topologyOf({ partitions: 1 }), topologyOf({ partitions: 1 })];
    await adapter.declare(narrow);
    await adapter.declare(wide);
    const configEntries = [{ name: 'max.message.bytes', value: '1000' }];
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: narrow.topic, configEntries }];
    await administer((admin) => admin.alterConfigs({ validateOnly: false, resources }));
    const large = (topology: typeof narrow) => message(topology, 'x'.repeat(2_000));
    await until(async () => (await publish(adapter, [large(narrow)]))[0]!.kind === 'rejected');
    for (let round = 0; round < 3; round++) {
      const outcomes = await publish(adapter, [large(narrow), large(wide)]);
      expect(outcomes).toMatchObject([
        { kind: 'rejected' },
        { kind: 'confirmed', position: `${wide.topic}/0/${round}` },
      ]);
      expect(adapter.isTransient((outcomes[0] as { error: unknown }).error)).toBe(false);
      // The broker must not take this one for a repetition of the one that it refused.
      const [next] = await publish(adapter, [message(narrow, `small ${round}`)]);
      expect(next!.kind).toBe('confirmed');
    }
    const [one, other] = [await consume(adapter, narrow), await consume(adapter, wide)];
    await until(() => other.got.length === 3 && one.texts().filter((text) => text.startsWith('small')).length === 3);
  });
});

describe('an idle Kafka client', () => {
  it('makes Node warn of nothing, and is really idle', async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.name);
    process.on('warning', listen);
    const { adapter } = await connect();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(adapter, [message(topology, 'x')]);
    const before = process.cpuUsage();
    const end = Date.now() + 1_000;
    await new Promise<void>((resolve) => setTimeout(resolve, end - Date.now()));
    const { user, system } = process.cpuUsage(before);
    process.off('warning', listen);
    expect(warnings).toEqual([]);
    // Two connections that look every millisecond take some 50 ms of a second.
    expect((user + system) / 1_000).toBeLessThan(150);
  });
});
