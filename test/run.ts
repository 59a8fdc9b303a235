// npm test                              starts rabbitmq, kafka, redis and postgres, and runs every test against them
// npm test -- --only memory,redis       only the servers and adapter tests of these; what is left out is printed
// npm test -- --only memory test/src    what follows goes to vitest: files, -t title …
// npm test -- --release rabbitmq@3.10   one broker's tests alone, on that release of it; `npm run test:older` runs all
//
// Fails also where the password of the tests of bad input is anywhere in what they print.
// The last line is `N passed, N failed`, with `, N skipped` where any were.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Server, startServer, urlVariable } from './fleet/index.ts';
import { releaseOf, versionVariable } from './fleet/releases.ts';
import { CANARY } from './input/canary.ts';
import { watchFor } from './printed.ts';

const servers = ['rabbitmq', 'kafka', 'redis', 'postgres'] as const;
const adapters = ['memory', 'sqlite', ...servers] as const;

const { wanted, version, forVitest } = argumentsOf(process.argv.slice(2));
const started: Server[] = [];
const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
let vitestRun: ChildProcess | undefined;
let ending: Promise<void> | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => void end().finally(() => process.exit(1)));
}

let totals = { passed: 0, failed: 0, skipped: 0 };
try {
  const env = await startServers();
  totals = await runVitest(env);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  await end();
}
if (totals.failed > 0 || totals.passed === 0) process.exitCode = 1;
process.stdout.write(
  `${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}\n`,
);

interface Arguments {
  readonly wanted: readonly string[];
  /** Of the one server that is wanted, where it is not the usual one. */
  readonly version: string | undefined;
  readonly forVitest: readonly string[];
}

function argumentsOf(args: readonly string[]): Arguments {
  const release = optionOf('--release', args);
  if (release !== undefined) {
    const [kind = '', version = ''] = release.value.split('@');
    const known = servers.find((name) => name === kind);
    if (known === undefined || version === '')
      refuse(`--release takes <server>@<version>; received "${release.value}"`);
    try {
      releaseOf(known, version);
    } catch (error) {
      refuse((error as Error).message);
    }
    const files = ['', 'conformance-', 'traps-'].map((prefix) => `test/adapters/${prefix}${kind}`);
    const given = release.rest.some((arg) => arg.startsWith('test/'));
    return { wanted: [kind], version, forVitest: given ? release.rest : [...files, ...release.rest] };
  }
  const only = optionOf('--only', args);
  if (only === undefined) return { wanted: adapters, version: undefined, forVitest: args };
  const names = only.value.split(',');
  const unknown = names.find((name) => !(adapters as readonly string[]).includes(name));
  if (unknown !== undefined) refuse(`--only takes ${adapters.join(', ')}; received "${unknown}"`);
  return { wanted: names, version: undefined, forVitest: only.rest };
}

/** `--name value` or `--name=value`, and the arguments without it. */
function optionOf(
  name: string,
  args: readonly string[],
): { readonly value: string; readonly rest: readonly string[] } | undefined {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
  if (at === -1) return undefined;
  const inline = args[at]!.includes('=');
  const value = (inline ? args[at]!.slice(name.length + 1) : args[at + 1]) ?? '';
  return { value, rest: args.toSpliced(at, inline ? 1 : 2) };
}

function refuse(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(2);
}

/** Side by side; the variables that name them to the tests. */
async function startServers(): Promise<NodeJS.ProcessEnv> {
  const env: NodeJS.ProcessEnv = {};
  const results = await Promise.allSettled(
    servers
      .filter((kind) => wanted.includes(kind))
      .map(async (kind) => {
        const server = await startServer(kind, version === undefined ? {} : { version, own: true });
        started.push(server);
        if (version !== undefined) {
          // For the servers that tests start by themselves.
          env[versionVariable(kind)] = version;
          process.stdout.write(`${kind} ${server.version}\n`);
        }
        env[urlVariable(kind)] = server.url;
        if (server.managementUrl !== undefined) env.HOLDFAST_RABBITMQ_MANAGEMENT_URL = server.managementUrl;
      }),
  );
  const failures = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as Error);
  if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join('\n\n'));
  return env;
}

async function runVitest(servers: NodeJS.ProcessEnv): Promise<typeof totals> {
  const left = adapters.filter((name) => !wanted.includes(name));
  const exclude = left.flatMap((name) => [
    `test/adapters/${name}.test.ts`,
    `test/adapters/${name}-*.test.ts`,
    `test/adapters/conformance-${name}.test.ts`,
    `test/adapters/traps-${name}.test.ts`,
    `test/adapters/traps-${name}-*.test.ts`,
  ]);
  if (left.length > 0) {
    exclude.push('test/fleet/**');
    process.stdout.write(`--only ${wanted.join(',')} leaves out ${exclude.join(' ')}\n`);
  }
  const report = join(folder, 'report.json');
  const vitest = createRequire(import.meta.url)
    .resolve('vitest/package.json')
    .replace(/package\.json$/, 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const child = spawn(process.execPath, [vitest, 'run', ...reporters, ...forVitest], {
    stdio: ['inherit', 'pipe', 'pipe'],
    env: { ...colours(), ...process.env, ...servers, HOLDFAST_TEST_EXCLUDE: exclude.join(',') },
  });
  vitestRun = child;
  const watch = watchFor(CANARY);
  const printed = Promise.all([watch.pass(child.stdout, process.stdout), watch.pass(child.stderr, process.stderr)]);
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
  // A process that a test has left behind may hold the pipes open.
  await Promise.race([printed, sleep(5_000, undefined, { ref: false })]);
  const found = await totalsOf(report, exitCode);
  if (!watch.found) return found;
  process.stderr.write(
    'A password of the tests of bad input was printed: look for what prints it in the output above\n',
  );
  return { ...found, failed: found.failed + 1 };
}

/** Through a pipe vitest would print none. */
function colours(): NodeJS.ProcessEnv {
  return process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

async function totalsOf(file: string, exitCode: number): Promise<typeof totals> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return { passed: 0, failed: 0, skipped: 0 };
  const report = JSON.parse(text) as Report;
  // A file that could not even be loaded holds no failed test, yet it has failed.
  const unloadable = report.testResults.filter(
    (each) => each.status === 'failed' && each.assertionResults.length === 0,
  );
  const failed = report.numFailedTests + unloadable.length;
  return {
    passed: report.numPassedTests,
    // Neither does an unhandled rejection, which vitest reports by its exit code alone.
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** Once, whatever ends the run. A server of the environment stays. */
function end(): Promise<void> {
  ending ??= (async () => {
    vitestRun?.kill('SIGTERM');
    await Promise.allSettled(started.map((server) => server.stop()));
    await rm(folder, { recursive: true, force: true });
  })();
  return ending;
}
