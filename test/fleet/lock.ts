import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs `task` while this process alone holds the lock on `file`.
 *
 * The lock is the kernel's (flock), held by a child that waits for the end of its stdin: it is let go when `task` ends
 * and also when this process dies in any way, so that no run ever waits for a dead one.
 */
export async function withLock<T>(file: string, onWait: () => void, task: () => Promise<T>): Promise<T> {
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo held; exec cat'], {
    detached: true, // an interrupt typed at the terminal must not drop the lock before the work has stopped
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = setTimeout(onWait, 1000);
  try {
    await Promise.race([
      once(holder.stdout, 'data'),
      once(holder, 'exit').then(([code]) => {
        throw new Error(`cannot lock ${file}: flock ended with ${code}; check that its directory is writable`);
      }),
    ]);
    clearTimeout(waiting);
    return await task();
  } finally {
    clearTimeout(waiting);
    holder.stdin.end();
  }
}
