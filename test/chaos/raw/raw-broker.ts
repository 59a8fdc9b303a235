import type { FoundLetter } from '../../../examples/demo/raw/raw-broker.ts';
import type { Setup } from '../setup.ts';
import type { GroupName } from '../topics.ts';

export interface RawLetter {
  readonly id: string;
  readonly reason: string;
  readonly attempts: number;
  /** Of the body's own `check`. */
  readonly check: string;
}

/** The broker past holdfast and past the proxy, by its own client. */
export interface RawBroker {
  /** Messages that the broker still has, dead letters aside, by the name of what holds them. */
  left(): Promise<ReadonlyMap<string, number>>;
  /** Every dead letter of the group. */
  dead(group: GroupName): Promise<readonly RawLetter[]>;
  close(): Promise<void>;
}

export async function openRaw(
  { broker }: Setup,
  server: { readonly url: string; readonly managementUrl?: string },
): Promise<RawBroker> {
  switch (broker) {
    case 'rabbitmq':
      return (await import('./rabbitmq.ts')).openRabbitmq(server.url, server.managementUrl!);
    case 'kafka':
      return (await import('./kafka.ts')).openKafka(server.url);
    case 'redis':
      return (await import('./redis.ts')).openRedis(server.url);
  }
}

export function checked({ id, reason, attempts, body }: FoundLetter): RawLetter {
  return { id, reason, attempts, check: checkIn(body) };
}

/** What `body` says of itself; nothing where it is no JSON any more. */
function checkIn(body: string): string {
  try {
    return String((JSON.parse(body) as { readonly check?: unknown }).check);
  } catch {
    return '';
  }
}
