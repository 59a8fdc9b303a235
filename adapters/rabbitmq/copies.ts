import type { AdapterHooks, Settlement, Topology } from '../../src/port.ts';
import { missing } from './declare.ts';
import { MAX_DELAY_MS, rungName } from './delays.ts';
import type { Handle } from './delivery.ts';
import { asError } from './errors.ts';
import { toCopy, toLetter, toWaiting } from './headers.ts';
import type { Presence } from './presence.ts';
import type { Parcel, Sender } from './sender.ts';
import { deadQueue, routingKey } from './topology.ts';

/** Longest wait for the confirm of a copy. */
const CONFIRM_MS = 30_000;
/** Pause before what could not be copied goes back, so that it does not come round at full speed. */
const FAILURE_PAUSE_MS = 1_000;
/** AMQP holds all headers of a message in 64 KiB: marks that do not fit beside the user's are cut to this. */
const CUT_MARK_LENGTH = 256;

/** Copies retries and dead letters to where they belong. Answers for each whether its copy is stored. */
export type Copies = (batch: readonly Settlement[]) => Promise<readonly boolean[]>;

export function copies(options: {
  readonly hooks: AdapterHooks;
  readonly presence: Presence;
  readonly sender: Sender;
  readonly topology: Topology;
  readonly group: string;
}): Copies {
  const { hooks, presence, sender, topology, group } = options;
  const { topic } = topology;
  const about = `copies of ${topic}:${group}`;

  async function toParcel(settlement: Settlement): Promise<Parcel> {
    const { delivery } = settlement;
    const { message, owner } = delivery.handle as Handle;
    const { lane, shard, queue } = owner.place;
    const body = message.content;
    if (settlement.kind === 'dead') {
      await presence.dead(topology, group);
      const properties = toLetter(message.properties, settlement.marks, { lane, shard });
      return { exchange: '', routingKey: deadQueue(topic, group), body, properties };
    }
    const { marks, delayMs } = settlement as Settlement & { readonly kind: 'retry' };
    const properties = toCopy(message.properties, marks);
    if (delayMs <= 0) return { exchange: '', routingKey: queue, body, properties };
    // What is beyond the longest path begins when it has been walked (consume.ts): a delay may be refused, a retry not.
    const walkMs = Math.min(delayMs, MAX_DELAY_MS);
    const { exchange, rungs } = await presence.delay(topology, group, walkMs);
    const parcel = { exchange, routingKey: `${routingKey(lane, shard)}.${rungs}`, body };
    return { ...parcel, properties: toWaiting(properties, delayMs - walkMs) };
  }

  /** One attempt. Answers the errors, by index, of those that are not stored. */
  async function attempt(batch: readonly Settlement[]): Promise<readonly (Error | undefined)[]> {
    const parcels = await Promise.all(batch.map((settlement) => toParcel(settlement).catch(asError)));
    const ready = parcels.filter((parcel): parcel is Parcel => !(parcel instanceof Error));
    const outcomes = await sender.send(`${topic}::copies`, ready, { deadline: Date.now() + CONFIRM_MS });
    const next = outcomes[Symbol.iterator]();
    return parcels.map((parcel) => {
      if (parcel instanceof Error) return parcel;
      const outcome = next.next().value!;
      if (outcome.kind === 'confirmed') return undefined;
      return outcome.kind === 'unroutable' ? missing(nameOf(parcel)) : asError(outcome.error);
    });
  }

  return async (batch) => {
    const errors = [...(await attempt(batch))];
    const again = batch.flatMap((_, index) => (errors[index] === undefined ? [] : [index]));
    if (again.length > 0) {
      // A queue may have been deleted meanwhile, or the headers did not fit; what was lost with a connection may be stored
      // twice by this, which a settlement that answers `unknown` allows.
      presence.forget();
      const second = await attempt(
        again.map((index) => (isTooLong(errors[index]!) ? cut(batch[index]!) : batch[index]!)),
      );
      for (const [position, index] of again.entries()) errors[index] = second[position];
      const failed = errors.find((error) => error !== undefined);
      if (failed !== undefined) {
        const detail = `topic "${topic}", group "${group}": ${failed.message}`;
        presence.findings.add({ about, code: 'copy-failed', detail });
        await new Promise((resolve) => setTimeout(resolve, FAILURE_PAUSE_MS));
      }
    }
    if (errors.every((error) => error === undefined)) presence.findings.mended(about);
    for (const kind of new Set(batch.map((settlement) => settlement.kind))) {
      await hooks.crashPoint?.(kind === 'dead' ? 'dead:copy-confirmed' : 'settle:copy-confirmed');
    }
    return errors.map((error) => error === undefined);
  };
}

/** What a returned copy did not find: its queue, or on a ladder the first of its rungs. */
function nameOf({ exchange, routingKey }: Parcel): string {
  if (exchange === '') return `queue "${routingKey}"`;
  const rungs = routingKey.split('.').slice(2);
  return `queue "${rungName(exchange, Number(rungs[0]))}" (for a delay of ${rungs.join(' + ')} ms)`;
}

function isTooLong(error: Error): boolean {
  return error instanceof RangeError;
}

function cut(settlement: Settlement): Settlement {
  if (settlement.kind !== 'dead' && settlement.kind !== 'retry') return settlement;
  const marks = Object.entries(settlement.marks).map(([name, value]) => [name, value.slice(0, CUT_MARK_LENGTH)]);
  return { ...settlement, marks: Object.fromEntries(marks) };
}
