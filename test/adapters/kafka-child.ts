/**
 * A consumer to be killed. Arguments: brokers, the topology as JSON, and which texts it settles (separated by commas, * for
 * all); it prints what it is handed and what it has settled, one line each.
 */
import { kafka } from '../../adapters/kafka/index.ts';
import type { Topology } from '../../src/port.ts';

const [brokers, shape, settles] = process.argv.slice(2) as [string, string, string];
const topology = JSON.parse(shape) as Topology;
const wanted = new Set(settles.split(','));
const adapter = kafka({ brokers, sessionTimeoutMs: 6_000 });
await adapter.connect({ instance: 'child', clientName: 'child', declare: 'create', emit() {}, crashPoint: undefined });
const source = await adapter.subscribe(
  {
    topology,
    group: 'billing',
    ordered: topology.groups[0]?.ordered ?? false,
    prefetch: 100,
    leaseMs: 30_000,
    handlerTimeoutMs: 60_000,
  },
  {
    deliver(batch) {
      for (const delivery of batch) {
        const text = Buffer.from(delivery.message.body).toString();
        console.log(`got ${text}`);
        if (!wanted.has(text) && !wanted.has('*')) continue;
        // Later ones first: offsets are settled out of order.
        setImmediate(async () => {
          await source.settle([{ kind: 'done', delivery }]);
          console.log(`settled ${text}`);
        });
      }
    },
    revoked() {},
  },
);
