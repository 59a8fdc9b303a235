/** A process of the demo, from its inside. */

import { type LedgerFile, openLedger } from './ledger-file.ts';
import type { Setup } from './setup.ts';
import type { Witness } from './witness.ts';

/** What the supervisor asks of a process. */
export interface Job {
  readonly setup: Setup;
  /** Names its ledger file. */
  readonly name: string;
  /** Which of the four writers it is. */
  readonly writer?: number;
  /** The process kills itself at this crash point, once it has settled so much and holds more. */
  readonly crash?: { readonly point: string; readonly afterSettled: number };
}

export interface Part extends Job {
  readonly ledger: LedgerFile;
  /** Fulfils when the supervisor wants the process to end in good order. */
  readonly stopped: Promise<void>;
}

/** Plays a part until it is over. Whatever it throws ends the process loudly; without its supervisor it ends at once. */
export async function play(act: (part: Part) => Promise<void>): Promise<void> {
  const job = JSON.parse(process.argv[2] ?? '') as Job;
  const ledger = openLedger(job.setup.directory, job.name);
  const orphaned = (): void => process.exit(1);
  process.on('disconnect', orphaned);
  // The terminal sends Ctrl-C to all; the supervisor passes it on in its own way.
  process.on('SIGINT', () => undefined);
  const stopped = new Promise<void>((resolve) => process.once('message', () => resolve()));
  await act({ ...job, ledger, stopped });
  ledger.close();
  process.off('disconnect', orphaned);
  process.disconnect();
}

/** For `connect({ crashPoint })`: SIGKILL, which no code of ours can soften, between two durable steps. */
export function crashPointOf({ crash, ledger }: Part, witness: Witness): (name: string) => void {
  return (name) => {
    if (name !== crash?.point || witness.settled < crash.afterSettled || witness.held < 2) return;
    ledger.write({ event: 'killed', point: name, held: witness.held });
    process.kill(process.pid, 'SIGKILL');
  };
}
