/** `holdfast relay`: publishes an environment's outbox until it is told to stop. */

import { parseArgs } from 'node:util';
import type { Client } from '../client.ts';
import { connectConfig } from '../connect.ts';
import { HoldfastError, messageOf, redact } from '../errors.ts';
import { createRelay, type Relay } from '../outbox/relay.ts';
import { type Command, UsageError } from './command.ts';
import { loadConfig } from './load-config.ts';
import { type Facts, log } from './log.ts';

export const relayCommand: Command = {
  summary: 'publish what the outbox holds, until SIGTERM',
  usage: [
    'Usage: holdfast relay [--config holdfast.config.ts] [--env NAME]',
    '',
    '  --config FILE  the config; its default export is defineConfig({ … })  (default holdfast.config.ts)',
    "  --env NAME     the environment  (default HOLDFAST_ENV, else NODE_ENV, else 'development')",
    '',
    'SIGTERM or SIGINT finishes what is on its way, releases the leases and exits 0; a second one exits 1 at once.',
    'Exit codes: 0 stopped as asked, 1 could not start or run, 2 called wrongly.',
  ].join('\n'),
  run,
};

const SUMMARY_EVERY_MS = 10_000;

async function run(args: readonly string[]): Promise<number> {
  const { config: path, env } = options(args);
  const config = await loadConfig(path);
  const variables = env === undefined ? process.env : { ...process.env, HOLDFAST_ENV: env };
  const { client, environment } = await connectConfig(config, variables);
  const { store: openStore } = environment.settings;
  const stopped = untilSignal();
  // Whatever fails, both are closed: what stays open would keep the process from ending.
  try {
    if (openStore === undefined) throw noStore(environment.name);
    const store = await openStore();
    try {
      await relayUntil(stopped, createRelay({ ...environment.settings.relay, client, outbox: store.outbox }), client, {
        environment: environment.name,
        config: path,
        pid: process.pid,
      });
    } finally {
      await client.close().finally(() => store.close());
    }
  } finally {
    await client.close();
  }
  log('info', 'relay stopped');
  return 0;
}

async function relayUntil(stopped: Promise<string>, relay: Relay, client: Client, facts: Facts): Promise<void> {
  const endReports = report(client);
  try {
    await relay.start();
    log('info', 'relay started', facts);
    log('info', 'relay stopping', { signal: await stopped });
    await relay.stop();
  } finally {
    endReports();
  }
}

const noStore = (environment: string): HoldfastError =>
  new HoldfastError(
    'config-invalid',
    `Environment "${environment}" has no store, so there is no outbox to relay: add store: () => postgresStore({ … })`,
  );

function options(args: readonly string[]): { config: string; env: string | undefined } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: 'string', default: 'holdfast.config.ts' }, env: { type: 'string' } },
    });
    return { config: values.config, env: values.env };
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** Resolves with the first signal; the second ends the process at once. */
function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

/** Events as log lines; the many small successes as one line every ten seconds. */
function report(client: Client): () => void {
  const counts = { sent: 0, later: 0, parked: 0 };
  const ends = [
    client.on('relayed', ({ sent, later, parked }) => {
      counts.sent += sent;
      counts.later += later;
      counts.parked += parked;
      if (parked > 0) log('warn', 'rows parked', { parked });
    }),
    client.on('warning', ({ code, detail }) => log('warn', detail, { code })),
    client.on('connection', ({ state, detail }) =>
      log(state === 'connected' || state === 'unblocked' ? 'info' : 'warn', `broker ${state}`, { detail }),
    ),
    client.on('breaker', ({ topic, state }) => log(state === 'open' ? 'warn' : 'info', `circuit ${state}`, { topic })),
    client.on('error', ({ during, error }) => log('error', `could not ${during}`, { error: redact(messageOf(error)) })),
  ];
  const summary = (): void => {
    if (counts.sent + counts.later + counts.parked > 0) log('info', 'relayed', counts);
    Object.assign(counts, { sent: 0, later: 0, parked: 0 });
  };
  const timer = setInterval(summary, SUMMARY_EVERY_MS);
  return () => {
    clearInterval(timer);
    summary();
    for (const end of ends) end();
  };
}
