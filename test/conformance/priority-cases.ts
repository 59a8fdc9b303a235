import assert from 'node:assert/strict';
import type { Priority } from '../../src/port.ts';
import type { Suite } from './options.ts';
import { type ConsumeScript, quick, scriptedTopic } from './script.ts';
import { until } from './until.ts';
import { publishOrders, type World } from './world.ts';

/** Lanes: high first, low never starved. */
export function priorityCases(suite: Suite): void {
  suite.case('S3: a priority on a topic without lanes is refused', async (world) => {
    const client = await world.client();
    await assert.rejects(client.publish(world.topic(), { n: 0 }, { priority: 'high' }), {
      code: 'invalid-message',
      outcome: 'not-sent',
    });
  });

  if (suite.capabilities.priority === 'none') {
    suite.case('a topic with lanes is refused, not treated as one without', async (world) => {
      const client = await world.client();
      await assert.rejects(client.publish(world.topic({ lanes: true }), { n: 0 }), { code: 'unsupported' });
    });
    return;
  }

  suite.case('G6: high overtakes a backlog of low, and low does not starve', async (world) => {
    const topic = world.topic({ lanes: true });
    const { client, seen } = await world.watched();
    const lows = await publishOrders(client, topic, 80, { prefix: 'low-', options: { priority: 'low' } });
    const highs = await publishOrders(client, topic, 40, { prefix: 'high-', options: { priority: 'high' } });
    const hold = world.gate();
    const lanes: Priority[] = [];
    const options = { ...quick('g'), concurrency: 1, prefetch: 40, laneWeights: { high: 8, normal: 2, low: 1 } };
    const { handled } = await world.consume(client, topic, options, async ({ priority }) => {
      await hold.opened;
      lanes.push(priority);
    });
    // The first call holds the only slot until both lanes have something to choose from.
    await until('both lanes are here', () => seen.unsettled('low') === 40 && seen.unsettled('high') >= 39);
    hold.open();
    await handled.all([...lows, ...highs]);
    const lastHigh = lanes.lastIndexOf('high');
    const overtaking = lanes.slice(0, lastHigh + 1);
    const low = overtaking.filter((lane) => lane === 'low').length;
    // By weight 8:1 five low ones go with forty high ones; the first of all was there before there was a choice.
    assert.ok(low <= 8, `${low} low ones were handled before the last of 40 high ones`);
    assert.ok(low >= 3, `only ${low} low ones were handled beside 40 high ones`);
  });

  suite.case('G6: a high message that comes late does not wait for the backlog', async (world) => {
    const topic = world.topic({ lanes: true });
    const client = await world.client();
    const lows = await publishOrders(client, topic, 400, { prefix: 'low-', options: { priority: 'low' } });
    const late = world.gate();
    const options = { ...quick('g'), concurrency: 1, prefetch: 10 };
    const { handled } = await world.consume(client, topic, options, async ({ priority }) => {
      // Each low one takes a moment, so that there is a backlog for as long as the high one needs to arrive.
      if (priority === 'low' && handled.entries.length < 300) await new Promise((resolve) => setTimeout(resolve, 5));
      if (handled.entries.length === 20) late.open();
    });
    await late.opened;
    await publishOrders(client, topic, 1, { prefix: 'high-', options: { priority: 'high' } });
    await handled.all([...lows, 'high-0']);
    const place = handled.entries.findIndex(({ id }) => id === 'high-0');
    assert.ok(place < 300, `it was number ${place} of 401`);
  });

  const orders = suite.capabilities.order === 'none' ? (['none'] as const) : (['none', 'key'] as const);
  for (const order of orders) {
    const where = order === 'key' ? 'in an ordered group ' : '';
    suite.case(`G6: ${where}low does not starve while high and normal are flooded with retries`, (world) =>
      floodedWithRetries(world, order),
    );
    for (const how of ['killed', 'closed'] as const) {
      suite.case(
        `G6: ${where}what a consumer held when it was ${how} keeps its lane, and its lane its share`,
        (world) => cameBack(world, order, how),
      );
    }
  }

  suite.case(
    'lanes are independent: a message of each is handled, retried and dead-lettered in its own',
    async (world) => {
      const topic = world.topic({ lanes: true });
      const client = await world.client();
      const lanes: Record<string, Priority> = {};
      const { handled } = await world.consume(client, topic, quick('g', 0, [50]), ({ id, attempt, priority }) => {
        if (id.startsWith('retry-') && attempt === 1) throw new Error('once');
        if (id.startsWith('dead-')) throw new Error('always');
        lanes[id] = priority;
      });
      for (const priority of ['high', 'normal', 'low'] as const) {
        for (const kind of ['done', 'retry', 'dead'])
          await client.publish(topic, { n: 0 }, { id: `${kind}-${priority}`, priority });
      }
      const good = ['high', 'normal', 'low'].flatMap((lane) => [`done-${lane}`, `retry-${lane}`]);
      await handled.all(good);
      for (const id of good) assert.equal(lanes[id], id.split('-')[1]);
      const letters = client.deadLetters(topic, 'g');
      await until('the others are dead letters', async () => (await letters.count()) === 3);
      for await (const letter of letters.list()) assert.equal(letter.priority, letter.id.split('-')[1]);
    },
  );
}

const WEIGHTS = { high: 8, normal: 2, low: 1 };
/** Twice a round by weight: what a lane waits at most, if it has something to start. */
const BOUND = 22;

/** While there were low ones to start, one started at least every so often. */
function assertFloor(starts: readonly Priority[]): void {
  const last = starts.lastIndexOf('low');
  let since = 0;
  for (const [index, lane] of starts.slice(0, last + 1).entries()) {
    since = lane === 'low' ? 0 : since + 1;
    assert.ok(since <= BOUND, `no low one in ${since} starts up to number ${index}: ${starts.join(' ')}`);
  }
}

/** Published with the lane in front of the id. */
const laneOf = (id: string): string => id.split('-')[0]!;

async function floodedWithRetries(world: World, order: 'none' | 'key'): Promise<void> {
  const topic = world.topic({ lanes: true, groups: { g: order } });
  const { client, seen } = await world.watched();
  const ids: string[] = [];
  for (const [priority, count] of [
    ['high', 25],
    ['normal', 25],
    ['low', 10],
  ] as const)
    ids.push(...(await publishOrders(client, topic, count, { prefix: `${priority}-`, options: { priority } })));
  const hold = world.gate();
  const starts: Priority[] = [];
  const options = { ...quick('g', 0, [1, 1]), concurrency: 1, prefetch: 40, laneWeights: WEIGHTS };
  const { handled } = await world.consume(client, topic, options, async ({ id, priority, attempt }) => {
    await hold.opened;
    assert.equal(priority, laneOf(id));
    starts.push(priority);
    // So that what failed is back before the others of its lane are through.
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (priority !== 'low' && attempt < 3) throw new Error('not yet');
  });
  await until('all lanes are here', () => seen.unsettled('low') === 10 && seen.unsettled('high') >= 24);
  hold.open();
  await handled.all(ids);
  assert.equal(starts.length, 50 * 3 + 10);
  assertFloor(starts);
}

async function cameBack(world: World, order: 'none' | 'key', how: 'killed' | 'closed'): Promise<void> {
  const script = world.script({ lanes: true, groups: { g: order }, partitions: 1 });
  const topic = scriptedTopic(script);
  const { client, seen } = await world.watched();
  const ids: string[] = [];
  for (const priority of ['low', 'high'] as const)
    ids.push(...(await publishOrders(client, topic, 30, { prefix: `${priority}-`, options: { priority } })));
  const options: ConsumeScript = { ...quick('g'), concurrency: 8, prefetch: 30 };
  if (how === 'killed') {
    const victim = await world.victim('dies');
    await victim.consume(script, options, { holdFrom: 0 });
    await victim.started.count(8);
    await victim.kill();
  } else {
    const hang = world.gate();
    const closing = await world.client();
    const { consumer, started } = await world.consume(closing, topic, options, () => hang.opened);
    await started.count(8);
    await consumer.close({ drainMs: 0 });
  }
  const hold = world.gate();
  const starts: Priority[] = [];
  const more = { ...options, concurrency: 1, laneWeights: WEIGHTS };
  const { handled } = await world.consume(client, topic, more, async ({ id, priority }) => {
    await hold.opened;
    assert.equal(priority, laneOf(id));
    starts.push(priority);
  });
  await until('both lanes are here', () => seen.unsettled('low') >= 29 && seen.unsettled('high') >= 29);
  hold.open();
  await handled.all(ids);
  assertFloor(starts);
  const low = starts.slice(0, starts.lastIndexOf('high') + 1).filter((lane) => lane === 'low').length;
  // By weight 8:1; the first of all may have been there before there was a choice.
  assert.ok(low <= 8, `${low} low ones were handled before the last of 30 high ones: ${starts.join(' ')}`);
}
