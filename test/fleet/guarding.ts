import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let folder: string | undefined;

/**
 * The folder of this run, under which each server has its own.
 *
 * With it comes the guard: a process that kills the servers and removes the folder as soon as this process is gone.
 */
export function runFolder(): string {
  if (folder) return folder;
  folder = mkdtempSync(join(tmpdir(), 'holdfast-fleet-'));
  const guard = spawn(process.execPath, [join(import.meta.dirname, 'guard.ts'), folder], {
    detached: true, // an interrupt typed at the terminal is not for it
    stdio: ['pipe', 'ignore', 'inherit'],
    env: {},
  });
  // The guard must not keep this process alive, nor bring it down.
  guard.unref();
  (guard.stdin as Socket).unref();
  guard.stdin.on('error', () => {});
  return folder;
}
