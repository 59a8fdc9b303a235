import type { Incoming, Outgoing, Priority, PublishOutcome } from '../../src/port.ts';
import type { Entry, Group, MemoryBroker } from './broker.ts';
import { wake } from './deliver.ts';
import { toStored } from './headers.ts';

/** Stores each message once per group: all of a batch, in its order, before any of it is delivered. */
export function publish(broker: MemoryBroker, batch: readonly Outgoing[]): PublishOutcome[] {
  return batch.map((message) => {
    const groups = broker.topics.get(message.topology.topic)?.groups;
    if (groups === undefined || groups.size === 0) return { kind: 'unroutable' };
    const stored = toStored(message);
    const at = broker.next();
    for (const group of groups.values()) {
      // Messages without a key have no order to keep: they are spread.
      const shard = group.ordered ? (message.partition ?? at % group.shards.length) : 0;
      enqueue(broker, group, stored, { lane: message.lane, shard, delayMs: message.delayMs });
    }
    return { kind: 'confirmed', position: `${message.topology.topic}/${at}` };
  });
}

/** Puts a message in line for one group, or in line to be in line. */
export function enqueue(
  broker: MemoryBroker,
  group: Group,
  message: Incoming,
  where: { readonly lane: Priority; readonly shard: number; readonly delayMs: number },
): void {
  const entry: Entry = {
    seq: broker.next(),
    message,
    lane: where.lane,
    shard: where.shard,
    storedAt: broker.clock.now(),
    redelivered: false,
    suspect: false,
    lease: undefined,
  };
  delay(broker, group, entry, where.delayMs);
}

/** Not before `delayMs`, then to the end of the line; in an ordered group, to the place it had. */
export function delay(broker: MemoryBroker, group: Group, entry: Entry, delayMs: number): void {
  const arrive = (): void => {
    group.delayed.delete(entry);
    if (group.ordered) {
      putBack(broker, group, entry);
    } else {
      entry.seq = broker.next();
      append(broker, group, entry);
    }
  };
  if (delayMs <= 0) {
    arrive();
    return;
  }
  group.delayed.add(entry);
  broker.at(broker.clock.now() + delayMs, arrive);
}

export function append(broker: MemoryBroker, group: Group, entry: Entry): void {
  group.ready[entry.lane][entry.shard]!.push(entry);
  wake(broker, group);
}

export function putBack(broker: MemoryBroker, group: Group, entry: Entry): void {
  group.ready[entry.lane][entry.shard]!.putBack(entry);
  wake(broker, group);
}
