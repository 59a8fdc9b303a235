import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import { publishTraps } from './traps-publish.ts';

publishTraps({
  kind: 'rabbitmq',
  usual: (url) => rabbitmq({ url }),
  alert: (url) => rabbitmq({ url, heartbeatSeconds: 1, connectTimeoutMs: 1_000 }),
  storedOnce: false,
});
