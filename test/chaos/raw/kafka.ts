import { openReader } from '../../../examples/demo/raw/kafka-reader.ts';
import { groups, topicOf } from '../topics.ts';
import { checked, type RawBroker } from './raw-broker.ts';

/** The server, by kafkajs. */
export async function openKafka(url: string): Promise<RawBroker> {
  const { admin, lag, letters } = await openReader(url, 'chaos');
  return {
    async left() {
      const left = new Map<string, number>();
      for (const group of groups) {
        const groupId = `${topicOf(group)}--${group}`;
        for (const topic of [topicOf(group), `${groupId}--retry`])
          left.set(`${groupId} of ${topic}`, await lag(groupId, topic));
      }
      return left;
    },
    dead: async (group) => (await letters(`${topicOf(group)}--${group}--dead`)).map(checked),
    close: () => admin.disconnect(),
  };
}
