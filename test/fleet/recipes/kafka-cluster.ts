import { ensureInstalled } from '../install.ts';
import { startNative } from '../native.ts';
import { freePorts } from '../ports.ts';
import { releaseOf } from '../releases.ts';
import type { Server } from '../server.ts';
import { kafkaNode } from './kafka.ts';

/** Small: what three of them have is taken from the tests. */
const HEAP = 192;

/** Three Kafka brokers of our own. */
export interface KafkaCluster {
  /** All three addresses. */
  readonly url: string;
  /** The first is also the controller: without it nothing is decided any more, so kill the others. */
  readonly nodes: readonly [Server, Server, Server];
  stop(): Promise<void>;
}

/** Starts three brokers with three replicas of everything, of which two must have what is confirmed. */
export async function startKafkaCluster(config: Readonly<Record<string, string>> = {}): Promise<KafkaCluster> {
  const installed = await ensureInstalled(releaseOf('kafka'));
  const [controllerPort] = await freePorts(1);
  const options = {
    config: {
      'default.replication.factor': '3',
      'offsets.topic.replication.factor': '3',
      'min.insync.replicas': '2',
      'replica.lag.time.max.ms': '3000',
      ...config,
    },
  };
  const start = (id: number): Promise<Server> =>
    startNative('kafka', kafkaNode({ id, controllerPort: controllerPort!, heap: HEAP }), installed, options);
  const first = await start(1);
  const [second, third] = await Promise.all([start(2), start(3)]);
  const nodes = [first, second!, third!] as const;
  return {
    url: nodes.map(({ url }) => url.replace('kafka://', '')).join(','),
    nodes,
    async stop() {
      await Promise.all([nodes[1].stop(), nodes[2].stop()]);
      await first.stop();
    },
  };
}
