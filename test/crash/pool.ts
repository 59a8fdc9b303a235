/** Processes that wait for a life to live. Who was not killed is used again: what they load takes longer than a case. */

import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Answer, Told } from './process.ts';

export type End =
  | { readonly end: 'killed' | 'done' }
  | { readonly end: 'error'; readonly error: string }
  /** Nothing came of it for so long: what it was waiting for. */
  | { readonly end: 'stuck'; readonly doing: string };

export interface Pool {
  live(told: Told, patienceMs: number): Promise<End>;
  close(): void;
}

export function createPool(): Pool {
  const idle: ChildProcess[] = [];
  const all = new Set<ChildProcess>();

  function start(): ChildProcess {
    const child = fork(join(import.meta.dirname, 'process.ts'), [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    all.add(child);
    child.once('exit', () => all.delete(child));
    child.on('error', () => undefined);
    return child;
  }

  function live(told: Told, patienceMs: number): Promise<End> {
    const child = idle.pop() ?? start();
    return new Promise((resolve) => {
      let words = '';
      const hear = (chunk: Buffer): void => {
        words = (words + chunk.toString()).slice(-2_000);
      };
      const end = (how: End, reusable: boolean): void => {
        clearTimeout(timer);
        clearTimeout(last);
        child.off('message', answered).off('exit', gone);
        child.stderr?.off('data', hear);
        if (reusable) idle.push(child);
        else child.kill('SIGKILL');
        resolve(how);
      };
      const answered = (answer: Answer): void => {
        if ('done' in answer) end({ end: 'done' }, true);
        else if ('error' in answer) end({ end: 'error', error: answer.error }, false);
        else end({ end: 'stuck', doing: answer.doing }, false);
      };
      const gone = (code: number | null, signal: string | null): void =>
        signal === 'SIGKILL'
          ? end({ end: 'killed' }, false)
          : end({ end: 'error', error: `ended by ${signal ?? `exit code ${code}`}: ${words}` }, false);
      let last: NodeJS.Timeout | undefined;
      const timer = setTimeout(() => {
        child.send('doing?', () => undefined);
        last = setTimeout(() => end({ end: 'stuck', doing: 'not even answering' }, false), 5_000);
      }, patienceMs);
      child.stderr?.on('data', hear);
      child.on('message', answered).on('exit', gone);
      child.send(told, () => undefined);
    });
  }

  return {
    live,
    close() {
      for (const child of all) child.kill('SIGKILL');
    },
  };
}
