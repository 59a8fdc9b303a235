import type { Delivery, Priority, Settlement, SettleOutcome, Source } from '../../src/port.ts';
import type { Copies } from './copies.ts';
import type { Handle } from './delivery.ts';
import type { Generation } from './generation.ts';
import type { QueueChannel } from './queue-channel.ts';

/** Settles by channel: what is done at once, copies when they are confirmed, what goes back at the end. */
export function settlements(options: {
  readonly ordered: boolean;
  readonly isPaused: (lane: Priority) => boolean;
  readonly copies: Copies;
}): Source['settle'] {
  const { ordered, isPaused } = options;

  function settleAll(deliveries: readonly Delivery[], how: 'ack' | 'requeue'): (delivery: Delivery) => boolean {
    const byGeneration = new Map<Generation, { owner: QueueChannel; tags: number[] }>();
    for (const { handle } of deliveries) {
      const { owner, generation, message } = handle as Handle;
      const entry = byGeneration.get(generation) ?? { owner, tags: [] };
      if (entry.tags.push(message.fields.deliveryTag) === 1) byGeneration.set(generation, entry);
    }
    const settled = new Set<Generation>();
    for (const [generation, { owner, tags }] of byGeneration) {
      if (owner[how](generation, tags)) settled.add(generation);
    }
    return ({ handle }) => settled.has((handle as Handle).generation);
  }

  /** In order only all together: when the source stops, or else at once by a new channel. */
  function giveBackOrdered(deliveries: readonly Delivery[]): (delivery: Delivery) => boolean {
    const ours = new Set(deliveries.filter(({ handle }) => !(handle as Handle).generation.dead));
    for (const { lane, handle } of ours) {
      const { owner, generation } = handle as Handle;
      generation.givesBack = true;
      if (!isPaused(lane)) owner.restart(generation);
    }
    return (delivery) => ours.has(delivery);
  }

  function giveBack(deliveries: readonly Delivery[]): (delivery: Delivery) => boolean {
    return ordered ? giveBackOrdered(deliveries) : settleAll(deliveries, 'requeue');
  }

  return async (batch) => {
    const outcomes: SettleOutcome[] = batch.map(({ delivery }) => (isOurs(delivery) ? 'settled' : 'stale'));
    const pick = (kind: Settlement['kind']): readonly Settlement[] =>
      batch.filter((settlement, index) => settlement.kind === kind && outcomes[index] === 'settled');
    const deliveriesOf = (settlements: readonly Settlement[]): readonly Delivery[] =>
      settlements.map(({ delivery }) => delivery);
    const answer = new Map<Settlement, SettleOutcome>();

    const finish = (kind: 'done' | 'give-back'): void => {
      const settlements = pick(kind);
      const deliveries = deliveriesOf(settlements);
      const settled = kind === 'done' ? settleAll(deliveries, 'ack') : giveBack(deliveries);
      for (const settlement of settlements) answer.set(settlement, settled(settlement.delivery) ? 'settled' : 'stale');
    };

    finish('done');
    if (!ordered) finish('give-back');
    const copied = batch.filter(
      ({ kind }, index) => (kind === 'retry' || kind === 'dead') && outcomes[index] === 'settled',
    );
    if (copied.length > 0) {
      const stored = await options.copies(copied);
      const gone = settleAll(deliveriesOf(copied.filter((_, index) => stored[index])), 'ack');
      const failed = copied.filter((_, index) => !stored[index]);
      for (const settlement of copied) answer.set(settlement, gone(settlement.delivery) ? 'settled' : 'unknown');
      for (const settlement of failed) answer.set(settlement, 'unknown');
      giveBack(deliveriesOf(failed));
    }
    // Ends the channel that the others are settled by.
    if (ordered) finish('give-back');
    return batch.map((settlement, index) => answer.get(settlement) ?? outcomes[index]!);
  };
}

function isOurs({ handle }: Delivery): boolean {
  const { generation, message } = handle as Handle;
  return !generation.dead && generation.unsettled.has(message.fields.deliveryTag);
}
