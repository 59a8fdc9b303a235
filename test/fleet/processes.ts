import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Whether a process is running; one that has ended and only waits to be reaped is not. */
export function isAlive(pid: number): boolean {
  // By thread: a process whose first thread has ended looks like one to be reaped while others still run.
  return threadsOf(pid).some((thread) => /[^ZX]/.test(statOf(`${pid}/task/${thread}`)?.state ?? 'X'));
}

/** Whether a process is frozen by SIGSTOP. */
export function isStopped(pid: number): boolean {
  return statOf(String(pid))?.state === 'T';
}

/** Every process below `pid`, however deep, in whatever group or session it put itself. */
export function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    const child = Number(entry);
    if (!Number.isInteger(child)) continue;
    const parent = statOf(entry)?.parent;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), child]);
  }
  const found: number[] = [];
  for (let next = children.get(pid) ?? []; next.length > 0; next = next.flatMap((each) => children.get(each) ?? [])) {
    found.push(...next);
  }
  return found;
}

/** Sends a signal to a process (a group, when negative) that may be gone already. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Signals a process and all below it, those too that have left its group, as each of PostgreSQL's sessions does. */
export function signalAll(pid: number, name: NodeJS.Signals): void {
  // Parents first: who is stopped starts no more children, so the second look finds any that were just starting.
  for (let look = 0; look < 2; look++) {
    for (const each of [pid, ...descendantsOf(pid)]) signal(each, name);
  }
}

/** Waits until `condition` holds and says whether it did in time. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > deadline) return false;
    await sleep(15);
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function statOf(folder: string): { state: string; parent: number } | undefined {
  try {
    // The name before them is in parentheses and may hold spaces and parentheses itself.
    const [state, parent] = readFileSync(`/proc/${folder}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return { state: state!, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
