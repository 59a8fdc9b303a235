import type { BrokerAdapter, Outgoing, PublishOutcome } from '../../src/port.ts';

/** What becomes of one message of a `publish` call, between core and adapter. */
export type Fault =
  /** It reaches the broker, and the confirm is lost. */
  | 'unknown'
  /**
   * It does not reach the broker, as when the broker says no for now; with what follows it in its partition, where an
   * adapter stores a partition's messages by one request.
   */
  | 'refused';

/** The same adapter, with faults injected into `publish`. */
export function faulty(adapter: BrokerAdapter, faultOf: (message: Outgoing) => Fault | undefined): BrokerAdapter {
  const byPartition = adapter.capabilities.flow.exclusive === 'partition';
  const injected = new Error('as injected');
  return {
    ...adapter,
    async publish(batch, limit) {
      const refused = new Set<number | undefined>();
      const faults = batch.map((message) => {
        if (byPartition && refused.has(message.partition)) return 'refused';
        const fault = faultOf(message);
        if (fault === 'refused') refused.add(message.partition);
        return fault;
      });
      const sent = batch.filter((_, index) => faults[index] !== 'refused');
      const outcomes = sent.length === 0 ? [] : await adapter.publish(sent, limit);
      let next = 0;
      return faults.map((fault): PublishOutcome => {
        if (fault === 'refused') return { kind: 'rejected', error: injected };
        const outcome = outcomes[next++]!;
        return fault === 'unknown' ? { kind: 'unknown', error: injected } : outcome;
      });
    },
    isTransient: (error) => error === injected || adapter.isTransient(error),
  };
}
