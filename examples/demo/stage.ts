/** All that a run stands on: a working directory, servers, store, the broker's raw client and the processes. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arguments } from './args.ts';
import { openRaw } from './brokers.ts';
import { type Crew, createCrew } from './processes.ts';
import type { RawBroker } from './raw/raw-broker.ts';
import { type Setup, startServers } from './setup.ts';
import { createTables, type DemoStore, openStore } from './stores.ts';

export interface Stage {
  readonly setup: Setup;
  readonly store: DemoStore;
  readonly raw: RawBroker;
  readonly crew: Crew;
  /** Ends all that was started, in reverse. */
  close(): Promise<void>;
}

export async function openStage({ broker, records, sabotage, keep }: Arguments): Promise<Stage> {
  const endings: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of endings.splice(0).reverse()) await end();
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-demo-'));
    endings.push(async () => (keep ? console.log(`kept ${directory}`) : rm(directory, { recursive: true })));
    const { brokerUrl, storeUrl, stop } = await startServers(broker, directory);
    endings.push(stop);
    const setup: Setup = { broker, brokerUrl, storeUrl, directory, records, sabotage };
    const store = await openStore(setup);
    endings.push(store.close);
    await createTables(store);
    const raw = await openRaw(setup);
    endings.push(raw.close);
    const crew = createCrew(setup);
    endings.push(crew.stop);
    return { setup, store, raw, crew, close };
  } catch (error) {
    await close();
    throw error;
  }
}
