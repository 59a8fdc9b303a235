/** A process of its own for redis-spill-processes.test.ts: publishes with a spill store, until it is killed. */
import { redis } from '../../adapters/redis/index.ts';
import { sqliteStore } from '../../adapters/sqlite/store.ts';
import { connect } from '../../src/connect.ts';
import { defineTopic } from '../../src/define-topic.ts';

export interface SpillTask {
  readonly url: string;
  readonly path: string;
  readonly topic: string;
  /** Ends the process there. */
  readonly dieAt?: string;
}
/** Asks for so many publishes; each is answered by its outcome. */
export interface PublishRequest {
  readonly from: number;
  readonly count: number;
}

const task = JSON.parse(process.argv[2]!) as SpillTask;
const store = sqliteStore({ path: task.path });
const client = await connect({
  adapter: redis({ url: task.url, commandTimeoutMs: 600, connectTimeoutMs: 1_000 }),
  source: 'child',
  spill: { store, spillAfterMs: 200 },
  crashPoint(name) {
    if (name === task.dieAt) process.kill(process.pid, 'SIGKILL');
  },
});
const topic = defineTopic<{ key: string; n: number }>(task.topic, {
  groups: { g: { order: 'key' } },
  key: ({ key }) => key,
});
process.on('message', ({ from, count }: PublishRequest) => {
  for (let n = from; n < from + count; n += 1) {
    client.publish(topic, { key: `k${n % 5}`, n }, { id: `m-${n}` }).then(
      ({ outcome }) => process.send!(outcome),
      (error: unknown) => process.send!(String(error)),
    );
  }
});
process.send!('ready');
