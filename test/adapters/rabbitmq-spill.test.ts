import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { spillOutages } from './spill-outages.ts';

spillOutages({ kind: 'rabbitmq', adapter: (url) => rabbitmq({ url, heartbeatSeconds: 1, connectTimeoutMs: 1_000 }) });
