/** The supervisor's side of the demo's processes: started, watched, and stopped in the end. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Job } from './child.ts';
import type { Setup } from './setup.ts';

export type Role = 'writer' | 'relay' | 'consumer';

export interface Crew {
  /** One that is told to kill itself is replaced when it has. */
  start(role: Role, job?: Omit<Job, 'setup' | 'name'>): void;
  /** How many of a role there are at this moment. */
  running(role: Role): number;
  /** Rejects, with what it wrote to stderr, when a process ends otherwise than told. Never fulfils. */
  readonly failed: Promise<never>;
  /** Asks all to end in good order and waits for it; from then on nobody is replaced. Idempotent. */
  stop(): Promise<void>;
}

const STOP_MS = 30_000;
const STDERR_CHARACTERS = 4_000;

export function createCrew(setup: Setup): Crew {
  const running = new Map<ChildProcess, { readonly role: Role; readonly ended: Promise<void> }>();
  let stopping = false;
  const counts: Record<Role, number> = { writer: 0, relay: 0, consumer: 0 };
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  // Whoever waits for something races it with this; until then nobody listens.
  failed.catch(() => undefined);

  async function watch(child: ChildProcess, name: string, onKilled: (() => void) | undefined): Promise<void> {
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_CHARACTERS);
    });
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    running.delete(child);
    if (code === 0) return;
    if (signal === 'SIGKILL' && onKilled !== undefined) return onKilled();
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    throw new Error(`${name} ended ${how}, which nobody asked for. It wrote:\n${stderr.trim() || '(nothing)'}`);
  }

  const crew: Crew = {
    failed,
    start(role, job = {}) {
      counts[role] += 1;
      const name = `${role}-${counts[role]}`;
      const child = fork(
        new URL(`./${role}.ts`, import.meta.url),
        [JSON.stringify({ ...job, setup, name } satisfies Job)],
        {
          execPath: process.execPath,
          execArgv: ['-C', 'source'],
          stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        },
      );
      const replace = (): void => {
        if (!stopping) crew.start(role);
      };
      const ended = watch(child, name, job.crash && replace);
      running.set(child, { role, ended });
      ended.catch(fail);
    },
    running: (role) => [...running.values()].filter((one) => one.role === role).length,
    async stop() {
      stopping = true;
      const all = [...running];
      // One that is ending just now is not there to be told.
      for (const [child] of all) if (child.connected) child.send('stop', () => undefined);
      // A child that does not end is no reason to leave the others; its own end is loud.
      const timer = setTimeout(() => {
        for (const [child] of all) child.kill('SIGKILL');
      }, STOP_MS);
      await Promise.all(all.map(([, { ended }]) => ended.catch(() => undefined)));
      clearTimeout(timer);
    },
  };
  return crew;
}
