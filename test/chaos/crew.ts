/** The processes under test: started, frozen, killed and started again; in the end, stopped in good order. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, Word } from './child.ts';
import { type LedgerFile, now, type Route } from './ledger-file.ts';
import type { ProcessTarget } from './plan.ts';
import type { Setup } from './setup.ts';

export interface Crew {
  start(role: ProcessTarget, route?: Route): void;
  /** Fulfils when all are at work. */
  begun(): Promise<void>;
  /** Kills one with SIGKILL and starts another in its place. Tells which, and when its successor was started. */
  kill(role: ProcessTarget, luck: number, lastsMs: number): Promise<Struck>;
  /** Freezes one for a while: its connections stay open. */
  pause(role: ProcessTarget, luck: number, lastsMs: number): Promise<Struck>;
  tell(role: ProcessTarget, word: Word): void;
  /** Asks all of these roles to end, waits, and kills those that do not; tells whose end that was. */
  stop(...roles: readonly ProcessTarget[]): Promise<readonly string[]>;
  /** At once, whatever they do. */
  abandon(): void;
}
export interface Struck {
  readonly hit: boolean;
  readonly name: string;
  readonly up: number;
}

interface Member {
  readonly role: ProcessTarget;
  readonly route: Route | undefined;
  readonly name: string;
  readonly child: ChildProcess;
  readonly begun: Promise<unknown>;
  readonly ended: Promise<void>;
  doomed: boolean;
}

const BEGIN_MS = 90_000;
const STOP_MS = 45_000;
/** After an end that nobody asked for, as a service manager does. */
const RESTART_MS = 1_000;
const HOUR_MS = 3_600_000;
const STDERR_CHARACTERS = 2_000;

export function createCrew(setup: Setup, ledger: LedgerFile): Crew {
  const members = new Set<Member>();
  let stopping = false;
  let started = 0;
  /** The first relay's clock is an hour ahead, its successor's is right: leases must not go by them. */
  let ahead = false;

  function start(role: ProcessTarget, route?: Route): void {
    started += 1;
    const name = `${role}-${started}`;
    const clockAheadMs = role === 'relay' && !ahead ? HOUR_MS : 0;
    ahead ||= clockAheadMs > 0;
    const job: Job = { setup, name, clockAheadMs, ...(route && { route }) };
    const child = fork(new URL(`./${role}.ts`, import.meta.url), [JSON.stringify(job)], {
      execPath: process.execPath,
      execArgv: ['-C', 'source', '--import', new URL('./broken.ts', import.meta.url).href],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const begun = new Promise((resolve) => child.once('message', resolve));
    const member: Member = { role, route, name, child, begun, doomed: false, ended: Promise.resolve() };
    members.add(Object.assign(member, { ended: watch(member) }));
  }

  async function watch(member: Member): Promise<void> {
    const { child, name, role, route } = member;
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_CHARACTERS);
    });
    child.on('error', () => undefined);
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    members.delete(member);
    const expected = member.doomed || (stopping && code === 0);
    const how = signal ?? `exit code ${code}`;
    ledger.write({ e: 'process', name, how: expected ? how : `${how}: ${stderr.trim()}`, expected });
    if (expected) return;
    await sleep(RESTART_MS);
    if (!stopping) start(role, route);
  }

  function oneOf(role: ProcessTarget, luck: number): Member | undefined {
    const able = [...members].filter((member) => member.role === role && !member.doomed);
    return able[Math.floor(luck * able.length)];
  }

  function tell(role: ProcessTarget, word: Word): void {
    for (const member of members)
      if (member.role === role && member.child.connected) member.child.send(word, () => undefined);
  }

  return {
    start,
    tell,
    async begun() {
      const all = Promise.all([...members].map(({ begun, ended }) => Promise.race([begun, ended])));
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => late.reject(new Error('a process does not begin its work')), BEGIN_MS);
      await Promise.race([all, late.promise]).finally(() => clearTimeout(timer));
    },
    async kill(role, luck, lastsMs) {
      const member = oneOf(role, luck);
      if (member === undefined) return { hit: false, name: role, up: now() };
      member.doomed = true;
      const hit = member.child.kill('SIGKILL');
      await member.ended;
      await sleep(lastsMs);
      start(role, member.route);
      return { hit, name: member.name, up: now() };
    },
    async pause(role, luck, lastsMs) {
      const member = oneOf(role, luck);
      if (member === undefined) return { hit: false, name: role, up: now() };
      const hit = member.child.kill('SIGSTOP');
      await sleep(lastsMs);
      member.child.kill('SIGCONT');
      return { hit, name: member.name, up: now() };
    },
    async stop(...roles) {
      stopping = true;
      const late: string[] = [];
      const leaving = [...members].filter(({ role }) => roles.includes(role));
      for (const role of roles) tell(role, 'stop');
      const timer = setTimeout(() => {
        for (const member of leaving.filter((one) => members.has(one))) {
          late.push(member.name);
          member.child.kill('SIGKILL');
        }
      }, STOP_MS);
      await Promise.all(leaving.map(({ ended }) => ended));
      clearTimeout(timer);
      stopping = false;
      return late;
    },
    abandon() {
      stopping = true;
      for (const { child } of members) child.kill('SIGKILL');
    },
  };
}
