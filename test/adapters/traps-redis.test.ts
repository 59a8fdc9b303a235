import { redis } from '../../adapters/redis/index.ts';
import { publishTraps } from './traps-publish.ts';

publishTraps({
  kind: 'redis',
  usual: (url) => redis({ url }),
  alert: (url) => redis({ url, commandTimeoutMs: 600, connectTimeoutMs: 1_000 }),
  storedOnce: true,
});
