import { type KafkaOptions, kafka } from '../../adapters/kafka/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';

/** As in production, but the death of a consumer is noticed as soon as brokers allow by default. */
export function adapter(url: string): BrokerAdapter {
  const options: KafkaOptions = { brokers: url, sessionTimeoutMs: 6_000, heartbeatIntervalMs: 500 };
  return kafka(options);
}
