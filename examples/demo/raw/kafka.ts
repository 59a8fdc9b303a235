import type { RawBroker } from './raw-broker.ts';
export async function openKafka(_url: string): Promise<RawBroker> {
  throw new Error('kafka is not there yet');
}
