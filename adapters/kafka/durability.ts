import type { AdapterHooks } from '../../src/port.ts';
import type { KafkaClient } from './client.ts';
import type { Settings } from './options.ts';

/** Whether what is confirmed, by all in sync and at least so many, is on a majority of the replicas. */
export const isMajority = (replicas: number, insync: number): boolean => replicas > 1 && 2 * insync > replicas;

/** Whether the options promise a majority. Nothing is promised where they leave it to the broker. */
export const promised = ({ replication, minInsync }: Settings): boolean => isMajority(replication, minInsync ?? 0);

export interface DurabilityWatch {
  look(topics: readonly string[]): Promise<void>;
  weaknesses(): readonly string[];
}

/** Topics that are there already may have fewer replicas, or need fewer in sync, than the options promise. */
export function durabilityWatch(client: KafkaClient, settings: Settings, hooks: AdapterHooks): DurabilityWatch {
  const weak = new Map<string, string>();

  async function lookAt(topic: string): Promise<void> {
    const [replicas, insync] = await Promise.all([
      client.replicasOf(topic).catch(() => undefined),
      client.configOf(topic, 'min.insync.replicas').catch(() => undefined),
    ]);
    if (replicas === undefined || insync === undefined) return;
    if (isMajority(replicas, Number(insync))) {
      weak.delete(topic);
      return;
    }
    const detail = `Kafka topic "${topic}" has ${replicas} replicas and min.insync.replicas=${insync}: a confirm is no majority`;
    if (weak.get(topic) !== detail) hooks.emit({ type: 'warning', code: 'durability', detail });
    weak.set(topic, detail);
  }

  return {
    async look(topics) {
      if (promised(settings)) await Promise.all(topics.map(lookAt));
    },
    weaknesses: () => [...weak.values()],
  };
}
