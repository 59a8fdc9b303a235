import { join } from 'node:path';
import type { BrokerName } from './args.ts';
import type { Sabotage } from './sabotage.ts';

/** Writing processes; an airport is one's alone. */
export const WRITERS = 4;

/** What every process of a run has to know. */
export interface Setup {
  readonly broker: BrokerName;
  /** A file's path for sqlite. */
  readonly brokerUrl: string;
  /** Where business rows, outbox, inbox and effects are: a file's path beside a sqlite broker, else of a PostgreSQL server. */
  readonly storeUrl: string;
  /** Of the ledger files. */
  readonly directory: string;
  readonly records: number;
  readonly sabotage: Sabotage | undefined;
}

export interface Servers {
  readonly brokerUrl: string;
  readonly storeUrl: string;
  stop(): Promise<void>;
}

/** Two files for sqlite; else fresh servers of the fleet, which end with this process at the latest. */
export async function startServers(broker: BrokerName, directory: string): Promise<Servers> {
  if (broker === 'sqlite') {
    const [brokerUrl, storeUrl] = [join(directory, 'broker.db'), join(directory, 'store.db')];
    return { brokerUrl, storeUrl, stop: async () => undefined };
  }
  const { startServer } = await import('../../test/fleet/index.ts');
  const started = await Promise.allSettled([
    startServer('postgres', { own: true }),
    startServer(broker, { own: true }),
  ]);
  const stop = async (): Promise<void> => {
    for (const server of started) if (server.status === 'fulfilled') await server.value.stop();
  };
  const failed = started.find((server) => server.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  const [storeUrl, brokerUrl] = started.map((server) => (server.status === 'fulfilled' ? server.value.url : '')) as [
    string,
    string,
  ];
  return { brokerUrl, storeUrl, stop };
}
