import type { Client } from '../../src/client.ts';
import { DeadLetter } from '../../src/errors.ts';
import { quick, scriptedTopic, type TopicScript } from './script.ts';
import { until } from './until.ts';
import { publishOrders, type World } from './world.ts';

/** Publishes so many and lets each become a dead letter of group `g`. */
export async function bury(
  world: World,
  client: Client,
  script: TopicScript,
  count: number,
): Promise<readonly string[]> {
  const topic = scriptedTopic(script);
  const { consumer } = await world.consume(client, topic, quick('g'), () => {
    throw new DeadLetter('bad');
  });
  const ids = await publishOrders(client, topic, count, { options: { headers: { trace: 'ü-1' } } });
  await until(`${count} are dead letters`, async () => (await client.deadLetters(topic, 'g').count()) === count);
  await consumer.close();
  return ids;
}
