import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = { least: 5, most: 100 };

/** Looks, less and less often, until it is so. A process that waits in vain is ended by whoever started it. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  doing.now = what;
  for (let ms = LOOK_MS.least; !(await condition()); ms = Math.min(ms * 1.5, LOOK_MS.most)) await sleep(ms);
}

/** What this process waits for, for whoever finds it waiting. */
export const doing: { now: string } = { now: 'nothing' };
