import { it } from 'vitest';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile, privateServer, urlOf } from './conformance-fixture.ts';
import { adapter } from './conformance-kafka-child.ts';

brokerSuite({
  name: 'kafka',
  it: it.concurrent,
  // Its only broker promises no replicas.
  capabilities: { ...expected.kafka, durability: 'memory' },
  adapter: () => adapter(urlOf('kafka')),
  child: { url: urlOf('kafka'), module: new URL('./conformance-kafka-child.ts', import.meta.url).href },
  server: () => privateServer('kafka', adapter),
  report: console.log,
  inbox: inboxInFile,
});
