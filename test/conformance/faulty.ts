import type { BrokerAdapter, Outgoing, PublishOutcome } from '../../src/port.ts';

/** What becomes of one message of a `publish` call, between core and adapter. */
export type Fault =
  /** It reaches the broker, and the confirm is lost. */
  | 'unknown'
  /**
   * It does not reach the broker, as when the broker says no for now; with what follows it in its partition, where an
   * adapter stores a partition's messages by one request.
   */
  | 'refused'
  /** The same, and nobody can tell: as when the connection breaks. */
  | 'lost';

/** The same adapter, with faults injected into `publish`. */
export function faulty(adapter: BrokerAdapter, faultOf: (message: Outgoing) => Fault | undefined): BrokerAdapter {
  const byPartition = adapter.capabilities.flow.exclusive === 'partition';
  const injected = new Error('as injected');
  return {
    ...adapter,
    async publish(batch, limit) {
      const missing = new Map<number | undefined, Fault>();
      const faults = batch.map((message) => {
        const before = byPartition ? missing.get(message.partition) : undefined;
        if (before !== undefined) return before;
        const fault = faultOf(message);
        if (fault === 'refused' || fault === 'lost') missing.set(message.partition, fault);
        return fault;
      });
      const sent = batch.filter((_, index) => faults[index] === undefined || faults[index] === 'unknown');
      const outcomes = sent.length === 0 ? [] : await adapter.publish(sent, limit);
      let next = 0;
      return faults.map((fault): PublishOutcome => {
        if (fault === 'refused') return { kind: 'rejected', error: injected };
        if (fault === 'lost') return { kind: 'unknown', error: injected };
        const outcome = outcomes[next++]!;
        return fault === 'unknown' ? { kind: 'unknown', error: injected } : outcome;
      });
    },
    isTransient: (error) => error === injected || adapter.isTransient(error),
  };
}
