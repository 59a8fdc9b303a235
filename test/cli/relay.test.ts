import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'holdfast';
import { sqlite, sqliteStore } from 'holdfast/sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { orderPlaced } from './fixture.config.ts';

const main = join(import.meta.dirname, '../../src/cli/main.ts');
const config = join(import.meta.dirname, 'fixture.config.ts');
let folder: string;
let running: ChildProcessWithoutNullStreams[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  running = [];
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcessWithoutNullStreams;
  output(): string;
  /** Resolves once the output holds this, or the process has ended. */
  says(text: string): Promise<void>;
  readonly exit: Promise<number | null>;
}

function holdfast(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  const { HOLDFAST_ENV: _, NODE_ENV: __, ...clean } = process.env;
  const child = spawn(process.execPath, ['-C', 'source', main, ...args], {
    env: { ...clean, FIXTURE_FOLDER: folder, ...env },
  });
  running.push(child);
  let output = '';
  const wake: (() => void)[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      for (const check of wake) check();
    });
  }
  const exit = once(child, 'close').then(([code]) => code as number | null);
  return {
    child,
    output: () => output,
    says: (text) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (output.includes(text)) resolve();
        };
        wake.push(check);
        check();
        void exit.then(() =>
          output.includes(text) ? resolve() : reject(new Error(`it never said "${text}":\n${output}`)),
        );
      }),
    exit,
  };
}

describe('holdfast relay', () => {
  it('publishes what the outbox holds, drains on SIGTERM and exits 0', async () => {
    const store = sqliteStore({ path: join(folder, 'store.db'), source: 'cli' });
    await store.migrate();
    await store.outbox.transaction((tx) => store.outbox.addAll(tx, orderPlaced, [{ n: 1 }, { n: 2 }, { n: 3 }]));

    const relay = holdfast(['relay', '--config', config]);
    await relay.says('relay started');
    await using client = await connect({ adapter: sqlite({ path: join(folder, 'broker.db') }) });
    const handled: number[] = [];
    const { promise: all, resolve } = Promise.withResolvers<void>();
    await client.consume(orderPlaced, { group: 'billing' }, ({ payload }) => {
      handled.push(payload.n);
      if (handled.length === 4) resolve();
    });
    await store.outbox.transaction((tx) => store.outbox.add(tx, orderPlaced, { n: 4 }));
    await all;
    expect(handled.sort()).toEqual([1, 2, 3, 4]);

    relay.child.kill('SIGTERM');
    expect(await relay.exit).toBe(0);
    expect(relay.output()).toContain('relay stopping signal=SIGTERM');
    expect(relay.output()).toContain('relay stopped');
    expect((await store.outbox.relay.pending()).total).toBe(0);
    await store.close();
  });

  it('says what is wrong and exits 1: no store, no config, no such environment, no broker', async () => {
    const bare = holdfast(['relay', '--config', config, '--env', 'bare']);
    expect(await bare.exit).toBe(1);
    expect(bare.output()).toContain('Environment "bare" has no store');

    const none = holdfast(['relay', '--config', join(folder, 'none.ts')]);
    expect(await none.exit).toBe(1);
    expect(none.output()).toContain('There is no config file');

    const misspelt = holdfast(['relay', '--config', config], { HOLDFAST_ENV: 'bar' });
    expect(await misspelt.exit).toBe(1);
    expect(misspelt.output()).toContain('did you mean "bare"');

    const unreachable = holdfast(['relay', '--config', config, '--env', 'unreachable']);
    expect(await unreachable.exit).toBe(1);
    expect(unreachable.output()).toContain('Could not connect to rabbitmq');
    expect(unreachable.output()).not.toContain('canary-secret');
  });

  it('exits 2 with the usage when called wrongly', async () => {
    const unknown = holdfast(['rely']);
    expect(await unknown.exit).toBe(2);
    expect(unknown.output()).toContain('did you mean "relay"');
    const option = holdfast(['relay', '--confg', 'x']);
    expect(await option.exit).toBe(2);
    expect(option.output()).toContain('Usage: holdfast relay');
    const help = holdfast(['--help']);
    expect(await help.exit).toBe(0);
  });
});
