import { kafka } from '../../adapters/kafka/index.ts';
import { spillOutages } from './spill-outages.ts';

spillOutages({
  kind: 'kafka',
  adapter: (url) => kafka({ brokers: url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000, sessionTimeoutMs: 6_000 }),
});
