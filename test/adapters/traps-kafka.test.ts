import { kafka } from '../../adapters/kafka/index.ts';
import { publishTraps } from './traps-publish.ts';

publishTraps({
  kind: 'kafka',
  usual: (url) => kafka({ brokers: url }),
  alert: (url) => kafka({ brokers: url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000 }),
  storedOnce: false,
});
