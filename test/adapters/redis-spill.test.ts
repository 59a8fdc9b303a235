import { redis } from '../../adapters/redis/index.ts';
import { spillOutages } from './spill-outages.ts';

spillOutages({ kind: 'redis', adapter: (url) => redis({ url, commandTimeoutMs: 600, connectTimeoutMs: 1_000 }) });
