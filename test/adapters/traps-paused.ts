import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { until } from '../conformance/until.ts';
import { connect } from './traps-connect.ts';
import type { TrapFleet } from './traps-fleet.ts';

export interface PausedTrap {
  readonly fleet: TrapFleet;
  /** Notices silence within a few seconds; its sessions and leases are short. */
  readonly usual: (url: string) => BrokerAdapter;
}

/** Longer than each lease and session of the traps' adapters. */
const PAUSE_MS = 9_000;

/** The other half of trap 46, a process of ours that is paused, is in the conformance suite. */
export function pausedTrap({ fleet, usual }: PausedTrap): void {
  describe(`${fleet.kind}: a broker that is paused`, () => {
    it('Trap 46: the broker stands still beyond leases and sessions: publishes end by their deadline, and all goes on when it wakes', {
      timeout: 120_000,
    }, async ({ expect }) => {
      const server = fleet.server();
      const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
      await using publisher = await connect({ adapter: usual(server.url) });
      await using consuming = await connect({ adapter: usual(server.url) });
      const handled = new Set<string>();
      await consuming.consume(topic, { group: 'g', leaseMs: 1_500, prefetch: 5 }, async ({ id }) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        handled.add(id);
      });
      const outcomes = new Map<string, string>();
      async function publish(id: string, timeoutMs: number): Promise<void> {
        const outcome = await publisher.publish(topic, id, { id, timeoutMs }).then(
          () => 'confirmed',
          (error: unknown) => (isHoldfastError(error) ? error.outcome : undefined),
        );
        outcomes.set(id, String(outcome));
      }
      const idsOf = (wanted: string): string[] =>
        [...outcomes].filter(([, outcome]) => outcome === wanted).map(([id]) => id);

      await Promise.all(Array.from({ length: 50 }, (_, n) => publish(`before-${n}`, 20_000)));
      await until('some are handled', () => handled.size > 10);
      await server.pause();
      try {
        const patient = Promise.all(Array.from({ length: 20 }, (_, n) => publish(`patient-${n}`, 40_000)));
        await Promise.all(Array.from({ length: 20 }, (_, n) => publish(`impatient-${n}`, 2_000)));
        const pausedFor = new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        expect(idsOf('confirmed').filter((id) => id.startsWith('impatient'))).toEqual([]);
        await until('health is red', async () => !(await publisher.health()).ready);
        expect((await publisher.health()).live).toBe(true);
        await pausedFor;
        await server.resume();
        await patient;
      } finally {
        await server.resume();
      }
      await until('a publish is confirmed again', async () => {
        const id = `after-${randomUUID()}`;
        await publish(id, 10_000);
        return outcomes.get(id) === 'confirmed';
      });
      await until('all that was confirmed is handled', () => idsOf('confirmed').every((id) => handled.has(id)));
      await until('all are settled', async () => {
        const { ready = 0, inFlight = 0, delayed = 0 } = await publisher.backlog(topic, 'g');
        return ready + inFlight + delayed === 0;
      });
      expect([...outcomes.values()].filter((each) => !['confirmed', 'not-sent', 'unknown'].includes(each))).toEqual([]);
      expect(idsOf('not-sent').filter((id) => handled.has(id))).toEqual([]);
      expect((await publisher.backlog(topic, 'g')).dead).toBe(0);
      await until('health is green', async () => (await publisher.health()).ready && (await consuming.health()).ready);
    });
  });
}
