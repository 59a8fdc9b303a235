import { it } from 'vitest';
import { redis } from '../../adapters/redis/index.ts';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile, privateServer, urlOf } from './conformance-fixture.ts';

brokerSuite({
  name: 'redis',
  it: it.concurrent,
  capabilities: expected.redis,
  adapter: () => redis({ url: urlOf('redis') }),
  child: { url: urlOf('redis') },
  server: () => privateServer('redis', (url) => redis({ url })),
  report: console.log,
  inbox: inboxInFile,
});
