import { it } from 'vitest';
import { type MemoryAdapter, memory, memoryBroker } from '../../adapters/memory/index.ts';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile } from './conformance-fixture.ts';

const broker = memoryBroker();

brokerSuite({
  name: 'memory',
  it: it.concurrent,
  capabilities: expected.memory,
  adapter: () => memory({ broker }),
  crash: (adapter) => (adapter as MemoryAdapter).crash(),
  inbox: inboxInFile,
});
