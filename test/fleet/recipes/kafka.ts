import { answers } from '../probe.ts';
import { type Launch, lines, type Place, type Recipe } from '../recipe.ts';

const clusterId = 'AAAAAAAAQACAAAAAAAAAAA';
const formatted = 'log/meta.properties';
/** An ApiVersions request, version 0: length, API key 18, version 0, correlation 7, no client id. */
const apiVersions = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255]);

/** One node of a cluster: number 1 is broker and controller, the others are brokers. */
export interface KafkaNode {
  readonly id: number;
  readonly controllerPort: number;
  /** Of the Java heap, in megabytes. */
  readonly heap: number;
}

/** A broker that is its own controller. */
export const kafka: Recipe = recipeOf(({ ports }) => ({ id: 1, controllerPort: ports[1]!, heap: 512 }));

/** A node of a cluster whose controller is node 1. */
export const kafkaNode = (node: KafkaNode): Recipe => recipeOf(() => node);

function recipeOf(nodeOf: (place: Place) => KafkaNode): Recipe {
  return { ports: 2, stopSignal: 'SIGTERM', launch: (place) => launch(place, nodeOf(place)) };
}

function launch(
  { installed, data, ports: [port], config, listeners }: Place,
  { id, controllerPort: controller, heap }: KafkaNode,
): Launch {
  const name = (index: number) => `PROXIED${index}`;
  const proxied = listeners.map((each, index) => `,${name(index)}://127.0.0.1:${each.port}`).join('');
  const advertised = listeners.map((each, index) => `,${name(index)}://127.0.0.1:${each.advertisedPort}`).join('');
  const controls = id === 1;
  const settings = {
    'process.roles': controls ? 'broker,controller' : 'broker',
    'node.id': String(id),
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port}${controls ? `,CONTROLLER://127.0.0.1:${controller}` : ''}${proxied}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}${advertised}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': ['CONTROLLER', 'PLAINTEXT', ...listeners.map((_, index) => name(index))]
      .map((each) => `${each}:PLAINTEXT`)
      .join(','),
    'log.dirs': `${data}/log`,
    'num.partitions': '1',
    'default.replication.factor': '1',
    'min.insync.replicas': '1',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '8',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '8',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    'auto.create.topics.enable': 'false',
    'log.cleaner.dedupe.buffer.size': '16777216',
    // A killed broker may register again only when its old session has expired, by default after 9 s.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'num.network.threads': '2',
    'num.io.threads': '4',
    ...config,
  };
  const java = `java $KAFKA_HEAP_OPTS -Dlog4j2.configurationFile=${installed}/log4j2.xml -cp "${installed}/libs/*"`;
  const format = `kafka.tools.StorageTool format -t ${clusterId} -c server.properties`;
  return {
    url: `kafka://127.0.0.1:${port}`,
    files: { 'server.properties': lines(settings, '=') },
    env: { KAFKA_HEAP_OPTS: `-Xmx${heap}m -Xms${heap / 2}m -XX:+UseG1GC -XX:MaxGCPauseMillis=20` },
    script: `[ -e ${formatted} ] || ${java} ${format}; exec ${java} kafka.Kafka server.properties`,
    // The line comes after the broker was unfenced; the request after it proves that its listener answers.
    isReady: async (log) => log.includes('Kafka Server started') && (await answers(port!, apiVersions, isAnswer)),
  };
}

function isAnswer(answer: Buffer): boolean {
  return answer.readInt32BE(4) === 7;
}
