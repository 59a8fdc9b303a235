import type { AdapterHooks } from '../../src/port.ts';
import type { KafkaClient } from './client.ts';
import type { BrokerClock } from './clock.ts';
import type { Settings } from './options.ts';
import type { Sender } from './sender.ts';
import type { TopologyStore } from './topology.ts';

/** What exists between `connect` and `close`. */
export interface Context {
  readonly settings: Settings;
  readonly hooks: AdapterHooks;
  readonly client: KafkaClient;
  readonly clock: BrokerClock;
  readonly sender: Sender;
  readonly topology: TopologyStore;
}

/** Our own sends (copies, hops, tombstones) are given this long. */
export const copyDeadline = ({ settings }: Context): number => Date.now() + settings.requestTimeoutMs;
