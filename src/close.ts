/** The end of a client, step by step: intake, handlers, relays, confirms, connection. */

import type { Closed } from './client.ts';
import type { Consumer, ConsumerInternals, Drained } from './consume/consumer.ts';
import type { Topologies } from './declare.ts';
import { fromAdapter } from './errors.ts';
import type { SpillDrain } from './outbox/spill-drain.ts';
import type { BrokerAdapter } from './port.ts';
import type { Publisher } from './publish/publisher.ts';
import { within } from './within.ts';

export interface Closing {
  readonly adapter: BrokerAdapter;
  readonly publisher: Publisher;
  readonly topologies: Topologies;
  readonly consumers: ReadonlySet<ConsumerInternals>;
  /** Consumers that are still subscribing; they end themselves. */
  readonly starting: ReadonlySet<Promise<Consumer>>;
  /** Stops relays. */
  readonly stops: ReadonlySet<() => Promise<void>>;
  readonly drain: SpillDrain | undefined;
  readonly closeStore: (() => Promise<void>) | undefined;
  /** From here on `publish` is refused. */
  refuse(): void;
}

/** How long a consumer that is still subscribing may keep close waiting. */
const GRACE_MS = 5_000;

/** Every step is made, whatever the one before it came to; then the first error is thrown. */
export async function closeInOrder(client: Closing, drainMs: number): Promise<Closed> {
  const { adapter, publisher, topologies, consumers, starting, stops, drain } = client;
  const endAt = performance.now() + drainMs;
  const left = (): number => Math.max(0, endAt - performance.now());
  const errors: unknown[] = [];
  const attempt = async <R>(step: Promise<R>): Promise<R | undefined> => {
    try {
      return await step;
    } catch (error) {
      errors.push(error);
      return undefined;
    }
  };
  const relays = Promise.all([...stops].map((stop) => attempt(stop())));
  const drained = await Promise.all([...consumers].map((consumer) => attempt(consumer.close({ drainMs }))));
  client.refuse();
  await within(left(), relays);
  if (drain !== undefined) await within(left() + GRACE_MS, attempt(drain.stop(left() / 2)));
  topologies.close();
  const { unknown } = await publisher.close(left());
  // With their publishes answered, relays end by themselves.
  await relays;
  await within(GRACE_MS, Promise.allSettled(starting));
  const spilled = await drain?.state();
  if (client.closeStore !== undefined) await attempt(client.closeStore());
  await attempt(adapter.close());
  if (errors.length > 0) throw fromAdapter(errors[0], 'close the client in good order');
  const sum = (count: (each: Drained) => number): number =>
    drained.reduce((total, each) => total + (each === undefined ? 0 : count(each)), 0);
  return {
    completed: sum((each) => each.completed),
    givenBack: sum((each) => each.givenBack),
    unknown: unknown + sum((each) => each.unknown),
    ...(drain === undefined ? {} : { spilled: spilled?.rows }),
  };
}
