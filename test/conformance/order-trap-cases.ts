import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeadLetter } from '../../src/errors.ts';
import { faulty } from './faulty.ts';
import { assertOrder, type Handling } from './ledger.ts';
import type { Suite } from './options.ts';
import { idOf, idsOf, publishKeyed } from './order-cases.ts';
import { quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';

const faults = {
  refused: 'is nacked',
  unknown: 'is stored and its confirm lost',
  lost: 'is lost with its confirm',
} as const;

/** What turns a key's messages round, where nobody prevents it. */
export function orderTrapCases(suite: Suite): void {
  if (suite.byKey === 'none') return;

  suite.case(
    'Trap 51: consumers die one after the other with prefetched messages of a key unsettled, and its order still holds',
    async (world) => {
      const script = world.script({ groups: { g: 'key' }, partitions: 1 });
      const client = await world.client();
      const keys = await publishKeyed(client, scriptedTopic(script), ['a', 'b'], 30);
      const options = { ...quick('g', 3), concurrency: 4 };
      const handlings: Handling[] = [];
      for (const [life, holdFrom] of [4, 9].entries()) {
        const victim = await world.victim(`life ${life}`);
        await victim.consume(script, options, { holdFrom });
        // What comes after it is prefetched, and waits with its key. After the first death both keys are suspects, of
        // which one is handled at a time.
        await victim.started.when(
          () => `a key at message ${holdFrom}`,
          () => ['a', 'b'].some((key) => victim.started.of(idOf(key, holdFrom)).length > 0),
        );
        await victim.kill();
        handlings.push(...victim.handled.entries);
      }
      const { handled } = await world.consume(client, scriptedTopic(script), options);
      const before = new Set(handlings.map(({ id }) => id));
      await handled.all(idsOf(keys).filter((id) => !before.has(id)));
      assertOrder([...handlings, ...handled.entries], keys);
    },
    120_000,
  );

  for (const [fault, what] of Object.entries(faults)) {
    suite.case(
      `Trap 55: the middle message of a key ${what}: its successors do not overtake it, nor its retry`,
      async (world) => {
        const topic = world.topic({ groups: { g: 'key' }, partitions: 2 });
        const failures = new Map<string, number>();
        const adapter = faulty(world.suite.adapter(), ({ id, headers }) => {
          const times = failures.get(id) ?? 0;
          if (headers.fails === undefined || times >= Number(headers.fails)) return undefined;
          failures.set(id, times + 1);
          return fault as keyof typeof faults;
        });
        // The circuit has a case of its own.
        const client = await world.client({ adapter, breaker: { minCalls: 1_000 } });
        const { handled } = await world.consume(client, topic, { ...quick('g'), concurrency: 8 });
        const names = ['a', 'b'];
        const numbers = Array.from({ length: 12 }, (_, n) => n);
        const orders = numbers.flatMap((n) => names.map((key) => ({ key, n })));
        // Of each key the fifth fails once, and the ninth twice; successors come with them and while they are retried.
        const publishing: Promise<unknown>[] = [];
        for (const { key, n } of orders) {
          const headers: Record<string, string> = n === 4 || n === 8 ? { fails: n === 4 ? '1' : '2' } : {};
          publishing.push(client.publish(topic, { key, n }, { id: idOf(key, n), headers }));
          if (n % 3 === 2) await sleep(4);
        }
        await Promise.all(publishing);
        const keys = new Map(names.map((key) => [key, numbers]));
        await handled.all(idsOf(keys));
        assertOrder(handled.entries, keys);
        assert.deepEqual(
          names.map((key) => [failures.get(idOf(key, 4)), failures.get(idOf(key, 8))]),
          names.map(() => [1, 2]),
        );
      },
    );
  }

  suite.case(
    'S28: a message that is dead-lettered and replayed is out of order, and the rest of its key is not',
    async (world) => {
      const topic = world.topic({ groups: { g: 'key' }, partitions: 1 });
      const client = await world.client();
      let mended = false;
      const { handled } = await world.consume(client, topic, quick('g'), async ({ payload }) => {
        if (payload.n === 3 && !mended) throw new DeadLetter('for now');
        await sleep(Math.random() * 3);
      });
      const early = await publishKeyed(client, topic, ['a', 'b'], 10);
      const letters = client.deadLetters(topic, 'g');
      await until('both are dead letters', async () => (await letters.count()) === 2);
      mended = true;
      const [late] = await Promise.all([publishKeyed(client, topic, ['a', 'b'], 10, 10), letters.replay()]);
      const all = new Map([...early].map(([key, ns]) => [key, [...ns, ...late.get(key)!]]));
      await handled.all(idsOf(all));
      const rest = new Map([...all].map(([key, ns]) => [key, ns.filter((n) => n !== 3)]));
      assertOrder(
        handled.entries.filter(({ n }) => n !== 3),
        rest,
      );
    },
  );
}
