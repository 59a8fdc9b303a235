import { expect, it } from 'vitest';
import { rabbitmq } from '../../adapters/rabbitmq/index.ts';

it('S22: says for how long RabbitMQ leaves a message unsettled, by default or as its servers are set', () => {
  const url = 'amqp://localhost';
  expect(rabbitmq({ url }).capabilities.consumerTimeoutMs).toBe(1_800_000);
  expect(rabbitmq({ url, consumerTimeoutMs: 7_200_000 }).capabilities.consumerTimeoutMs).toBe(7_200_000);
  expect(() => rabbitmq({ url, consumerTimeoutMs: 0 })).toThrow(/"consumerTimeoutMs" must be a number/);
});
