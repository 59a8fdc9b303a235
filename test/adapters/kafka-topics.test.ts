import { expect, it } from 'vitest';
import type { RawCluster } from '../../adapters/kafka/kafkajs/cluster.ts';
import { leadership } from '../../adapters/kafka/kafkajs/leaders.ts';
import { createTopics } from '../../adapters/kafka/kafkajs/topics.ts';

const spec = { topic: 't', partitions: 1, replication: 1, config: {} };
const refused = (type: string): Error =>
  Object.assign(new Error('no'), { errors: [{ name: 'KafkaJSProtocolError', type }] });

/** A cluster whose broker, and then its controller, answer the creation of a topic by these codes; an empty one is yes. */
function cluster(answers: string[], controls: string[] = []) {
  const asked: string[] = [];
  const broker = (name: string, list: string[]) => ({
    async createTopics() {
      asked.push(name);
      const type = list.shift() ?? '';
      if (type !== '') throw refused(type);
    },
    metadata: async () => ({ topicMetadata: [{ topic: 't', partitionMetadata: [{ partitionId: 0, leader: 1 }] }] }),
    listOffsets: async () => ({ responses: [{ topic: 't', partitions: [{ partition: 0, offset: '0' }] }] }),
  });
  const any = broker('any', answers);
  const raw = {
    brokerPool: { findConnectedBroker: async () => any },
    findBroker: async () => any,
    findControllerBroker: async () => broker('controller', controls),
    refreshMetadata: async () => undefined,
  } as unknown as RawCluster;
  return { asked, create: () => createTopics(raw, leadership(raw, 1_000), [spec], 1_000) };
}

it('a topic whose creation took the controller too long is asked for again, and was made meanwhile', async () => {
  const { asked, create } = cluster(['REQUEST_TIMED_OUT', 'REQUEST_TIMED_OUT', 'TOPIC_ALREADY_EXISTS']);
  await create();
  expect(asked).toEqual(['any', 'any', 'any']);
});

it('a broker that is not the controller sends on to the one that is', async () => {
  const { asked, create } = cluster(['NOT_CONTROLLER']);
  await create();
  expect(asked).toEqual(['any', 'controller']);
});

it.each([
  ['TOPIC_AUTHORIZATION_FAILED', 'access-refused'],
  ['INVALID_TOPIC_EXCEPTION', 'topology-conflict'],
])('what no second try can mend is told at once: %s', async (type, adapterCode) => {
  const { asked, create } = cluster([type]);
  await expect(create()).rejects.toMatchObject({ adapterCode });
  expect(asked).toEqual(['any']);
});
