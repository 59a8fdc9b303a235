import { it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile, privateServer, urlOf } from './conformance-fixture.ts';

brokerSuite({
  name: 'rabbitmq',
  it: it.concurrent,
  capabilities: expected.rabbitmq,
  adapter: () => rabbitmq({ url: urlOf('rabbitmq') }),
  child: { url: urlOf('rabbitmq') },
  server: () => privateServer('rabbitmq', (url) => rabbitmq({ url })),
  report: console.log,
  inbox: inboxInFile,
});
