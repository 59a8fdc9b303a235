import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlite } from '../../adapters/sqlite/index.ts';
import type { AdapterEvent, BrokerAdapter } from '../../src/port.ts';
import { consume, hooksOf, keyed, outgoing, publish, topologyOf, until } from './port-harness.ts';
import type { Report, Task } from './sqlite-child.ts';

const CHILD = fileURLToPath(new URL('./sqlite-child.ts', import.meta.url));

interface Child {
  readonly process: ChildProcess;
  readonly texts: string[];
  readonly outcomes: string[];
  readonly stderr: () => string;
}

describe('sqlite, one file and several processes', () => {
  let directory: string;
  let path: string;
  const children: ChildProcess[] = [];
  const clients: BrokerAdapter[] = [];
  const events: AdapterEvent[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
    path = join(directory, 'broker.db');
    events.length = 0;
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child);
    for (const adapter of clients.splice(0)) await adapter.close();
    rmSync(directory, { recursive: true });
  });

  async function client(): Promise<BrokerAdapter> {
    const adapter = sqlite({ path, pollMs: 5 });
    clients.push(adapter);
    await adapter.connect(hooksOf(events));
    return adapter;
  }

  function start(task: Task): Child {
    const child = fork(CHILD, [JSON.stringify(task)], { execArgv: [], stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    children.push(child);
    const texts: string[] = [];
    const outcomes: string[] = [];
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on('message', (report: Report) => {
      if (report === 'locked') outcomes.push(report);
      else if ('texts' in report) texts.push(...report.texts);
      else outcomes.push(...report.outcomes);
    });
    return { process: child, texts, outcomes, stderr: () => stderr };
  }

  async function kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  it('delivers to a consumer in another process what this one publishes', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const child = start({ kind: 'consume', path, topology, hold: false, leaseMs: 30_000 });
    await publish(adapter, [outgoing(topology, 'a')]);
    await until('the child has it', () => child.texts.includes('a'));
    await publish(adapter, [outgoing(topology, 'b')]);
    await until('the child has it', () => child.texts.includes('b'));
    await until('both are settled', async () => {
      const { ready, inFlight } = await adapter.backlog(topology, 'g');
      return ready === 0 && inFlight === 0;
    });
  });

  it('redelivers at once, as suspect and in order, what a killed process held, long before its leases end', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    await publish(
      adapter,
      ['a', 'b', 'c', 'd', 'e', 'f'].map((text) => outgoing(topology, text)),
    );
    const child = start({ kind: 'consume', path, topology, hold: true, leaseMs: 3_600_000 });
    await until('the child holds four', () => child.texts.length === 4);
    const inbox = await consume(adapter, topology);
    await inbox.count(2);
    await kill(child.process);
    await inbox.count(6);
    expect(inbox.texts()).toEqual(['e', 'f', 'a', 'b', 'c', 'd']);
    expect(inbox.deliveries.map((delivery) => delivery.suspect)).toEqual([false, false, true, true, true, true]);
    expect(await inbox.settle('done', ...inbox.deliveries)).toEqual(Array(6).fill('settled'));
  });

  it('Trap 51: hands the shards of a killed process to others, from the first unsettled message on', async () => {
    const adapter = await client();
    const topology = topologyOf([{ name: 'g', ordered: true }], { partitions: 2 });
    await adapter.declare(topology);
    const child = start({ kind: 'consume', path, topology, hold: true, leaseMs: 3_600_000 });
    await publish(
      adapter,
      [0, 1, 2, 3, 4, 5].flatMap((n) => [keyed(topology, `a${n}`, 'a', 0), keyed(topology, `b${n}`, 'b', 1)]),
    );
    await until('the child holds its prefetch of both', () => child.texts.length === 8);
    const inbox = await consume(adapter, topology);
    await kill(child.process);
    await inbox.count(12);
    for (const key of ['a', 'b']) {
      expect(inbox.texts().filter((text) => text.startsWith(key))).toEqual([0, 1, 2, 3, 4, 5].map((n) => `${key}${n}`));
    }
    expect(inbox.deliveries.filter((delivery) => delivery.suspect)).toHaveLength(8);
  });

  it('fences off a process that hung for longer than its lease: revoked, and its settlements stale', async () => {
    const adapter = await client();
    const topology = topologyOf([{ name: 'g', ordered: true }]);
    await adapter.declare(topology);
    await publish(
      adapter,
      ['a', 'b'].map((text) => keyed(topology, text, 'k', 0)),
    );
    const child = start({ kind: 'consume', path, topology, hold: true, leaseMs: 300 });
    await until('the child holds both', () => child.texts.length === 2);
    child.process.kill('SIGSTOP');
    const inbox = await consume(adapter, topology);
    await inbox.count(2);
    expect(inbox.texts()).toEqual(['a', 'b']);
    expect(inbox.deliveries.every((delivery) => delivery.suspect)).toBe(true);
    child.process.kill('SIGCONT');
    await until('the child has heard of it', () => child.outcomes.length === 3);
    expect(child.outcomes).toEqual(['revoked', 'stale', 'stale']);
    expect(await inbox.settle('done', ...inbox.deliveries)).toEqual(['settled', 'settled']);
  });

  it('loses nothing, and lets no lock escape, when three processes publish and two consume at once', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const consumers = [1, 2].map(() => start({ kind: 'consume', path, topology, hold: false, leaseMs: 30_000 }));
    const publishers = ['p', 'q', 'r'].map((name) => start({ kind: 'publish', path, topology, name, batches: 20 }));
    await until('all are published', () => publishers.every((child) => child.outcomes.length === 1_000), 30_000);
    expect(new Set(publishers.flatMap((child) => child.outcomes))).toEqual(new Set(['confirmed']));
    const seen = (): string[] => consumers.flatMap((child) => child.texts);
    await until('all are consumed', () => new Set(seen()).size === 3_000, 30_000);
    expect(seen()).toHaveLength(3_000);
    for (const child of [...consumers, ...publishers]) expect(child.stderr()).not.toMatch(/locked|SQLITE/);
    await until('all are settled', async () => (await adapter.backlog(topology, 'g')).inFlight === 0);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0, delayed: 0, dead: 0 });
  });

  it('waits for a lock of another process without blocking the event loop', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const child = start({ kind: 'lock', path });
    await until('the child has the lock', () => child.outcomes.includes('locked'));
    let outcome: unknown;
    const publishing = publish(adapter, [outgoing(topology, 'a')]).then((outcomes) => {
      outcome = outcomes[0]!.kind;
    });
    // Only a loop that turns gets to tell the child to let go.
    let turns = 0;
    await until('the loop has turned', () => {
      turns += 1;
      return turns > 20;
    });
    expect(outcome).toBeUndefined();
    child.process.send('go');
    await publishing;
    expect(outcome).toBe('confirmed');
  });

  it('says by the deadline that the lock was not to be had, and that nothing was stored', async () => {
    const adapter = await client();
    const topology = topologyOf();
    await adapter.declare(topology);
    const child = start({ kind: 'lock', path });
    await until('the child has the lock', () => child.outcomes.includes('locked'));
    const [outcome] = await adapter.publish([outgoing(topology, 'a')], {
      deadline: Date.now() + 50,
      signal: new AbortController().signal,
    });
    expect(outcome).toMatchObject({ kind: 'rejected', error: { adapterCode: 'busy' } });
    expect(adapter.isTransient((outcome as { error: unknown }).error)).toBe(true);
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 0 });
    child.process.send('go');
    await until(
      'the lock is free',
      async () => (await publish(adapter, [outgoing(topology, 'b')]))[0]!.kind === 'confirmed',
    );
  });

  it('creates its tables once when several processes start at once on a new file', async () => {
    const topology = topologyOf();
    const publishers = ['p', 'q', 'r', 's'].map((name) => start({ kind: 'publish', path, topology, name, batches: 1 }));
    await until('all are published', () => publishers.every((child) => child.outcomes.length === 50), 30_000);
    const adapter = await client();
    expect(await adapter.backlog(topology, 'g')).toMatchObject({ ready: 200 });
  });
});
