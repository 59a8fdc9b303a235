import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect } from '../../src/connect.ts';
import type { Command, Told } from './child.ts';
import { type Handling, handlingOf, type Ledger, ledger, nowMicros, type Order } from './ledger.ts';
import { type Operation, operate } from './operate.ts';
import type { BrokerSuiteOptions } from './options.ts';
import {
  type ConsumeScript,
  type HandlerScript,
  type ProcessScript,
  type PublishScript,
  scriptedHandler,
  scriptedTopic,
  type TopicScript,
} from './script.ts';
import { until } from './until.ts';

/** A client that can die: a process of its own where the broker can be shared, else a client that crashes. */
export interface Victim {
  readonly name: string;
  /** Of its process, where it has one of its own. */
  readonly pid: number | undefined;
  /** Calls of its handlers that began. */
  readonly started: Ledger;
  /** Calls of its handlers that ended well. */
  readonly handled: Ledger;
  readonly confirmed: ReadonlySet<string>;
  /** Errors, warnings and the like of its client. */
  readonly said: readonly string[];
  /** Waits until so many of its publishes are confirmed, and not a moment longer. */
  confirms(count: number): Promise<void>;
  /** Waits until it has passed its script's `tellAt` so many times. */
  passes(count: number): Promise<void>;
  consume(topic: TopicScript, options: ConsumeScript, handler?: HandlerScript): Promise<void>;
  /** Publishes all at once and does not wait. */
  publish(topic: TopicScript, orders: readonly Order[], prefix: string, options?: PublishScript): void;
  /** Replays a group's dead letters and does not wait. */
  replay(topic: TopicScript, group: string, ratePerSecond?: number): void;
  /** Does something with a group's dead letters, and does not wait. */
  operate(topic: TopicScript, group: string, operation: Operation): void;
  /** Waits until it has died by itself. */
  died(): Promise<void>;
  /** SIGKILL; waits until it is gone. */
  kill(): Promise<void>;
  /** Closes its client in good order, and ends. */
  close(): Promise<void>;
}

export async function makeVictim(suite: BrokerSuiteOptions, name: string, script: ProcessScript = {}): Promise<Victim> {
  if (suite.capabilities.multiProcess) return childProcess(suite, name, script);
  return inProcess(suite, name, script);
}

const confirmOf = (id: string, by: string): Handling => ({ id, n: 0, key: undefined, attempt: 0, by, at: nowMicros() });

/** A client in a process of its own. */
export async function childProcess(
  { child: setup, name: suite }: Pick<BrokerSuiteOptions, 'child' | 'name'>,
  name: string,
  script: ProcessScript = {},
): Promise<Victim> {
  if (setup === undefined) throw new TypeError(`brokerSuite "${suite}" needs "child": its adapter says multiProcess`);
  // Beside this file: sources here, JavaScript in the published package.
  const runsSources = import.meta.url.endsWith('.ts');
  const file = fileURLToPath(new URL(runsSources ? './child.ts' : './child.js', import.meta.url));
  const args = [
    ...(runsSources ? ['-C', 'source'] : []),
    file,
    setup.url,
    setup.module ?? '',
    name,
    JSON.stringify(script),
  ];
  const child = spawn(process.execPath, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const gone = once(child, 'close');
  const [started, handled] = [ledger(), ledger()];
  const confirms = ledger();
  const told = new Set<Told['tell']>();
  let passed = 0;
  const said: string[] = [];

  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = JSON.parse(line) as Told;
    told.add(event.tell);
    if (event.tell === 'started') started.note(event.handling);
    else if (event.tell === 'handled') handled.note(event.handling);
    else if (event.tell === 'confirmed') confirms.note(confirmOf(event.id, name));
    else if (event.tell === 'passed') passed += 1;
    else if (event.tell === 'error') said.push(event.error);
  });
  child.on('close', (code, signal) => said.push(`ended by ${signal ?? code}`));
  child.stdin.on('error', () => undefined);

  const isGone = (): boolean => child.exitCode !== null || child.signalCode !== null;
  async function hear(tell: Told['tell']): Promise<void> {
    await until(`process ${name} says "${tell}"`, () => told.has(tell) || isGone());
    if (!told.has(tell)) throw new Error(`process ${name} ended before it said "${tell}"`);
  }
  const send = (command: Command): void => void child.stdin.write(`${JSON.stringify(command)}\n`);

  await hear('ready');
  return {
    name,
    pid: child.pid,
    said,
    started,
    handled,
    get confirmed() {
      return confirms.ids();
    },
    confirms: (count) => confirms.count(count),
    passes: (count) => until(`process ${name} was ${count} times where it tells`, () => passed >= count),
    async consume(topic, options, handler = {}) {
      told.delete('consuming');
      send({ do: 'consume', topic, options, handler });
      await hear('consuming');
    },
    publish: (topic, orders, prefix, options = {}) => send({ do: 'publish', topic, orders, prefix, options }),
    replay: (topic, group, ratePerSecond) => send({ do: 'replay', topic, group, ratePerSecond }),
    operate: (topic, group, operation) => send({ do: 'operate', topic, group, operation }),
    died: () => until(`process ${name} has died`, isGone),
    async kill() {
      if (!isGone()) child.kill('SIGKILL');
      await gone;
    },
    async close() {
      send({ do: 'close' });
      await gone;
    },
  };
}

async function inProcess(
  { adapter: make, crash, name: suite }: BrokerSuiteOptions,
  name: string,
  { dieAt, tellAt, clockAheadMs }: ProcessScript,
): Promise<Victim> {
  if (clockAheadMs !== undefined) throw new TypeError('only a process of its own has a clock of its own');
  if (crash === undefined)
    throw new TypeError(`brokerSuite "${suite}" needs "crash": its adapter says not multiProcess`);
  const adapter = make();
  const client = await connect({ adapter, source: 'conformance', crashPoint });
  const [started, handled] = [ledger(), ledger()];
  const confirms = ledger();
  let passed = 0;
  let dead = false;

  function die(): void {
    if (dead) return;
    dead = true;
    crash!(adapter);
    void client.close({ drainMs: 0 });
  }
  async function crashPoint(point: string): Promise<void> {
    if (dead) return;
    if (point === tellAt) passed += 1;
    if (point !== dieAt) return;
    die();
    await new Promise<never>(() => undefined);
  }

  return {
    name,
    pid: undefined,
    said: [],
    started,
    handled,
    get confirmed() {
      return confirms.ids();
    },
    confirms: (count) => confirms.count(count),
    passes: (count) => until(`${name} was ${count} times where it tells`, () => passed >= count),
    async consume(topic, options, handler = {}) {
      const run = scriptedHandler(handler, (what, message) => {
        // The dead tell no tales, though in this process their code runs on.
        if (!dead) (what === 'started' ? started : handled).note(handlingOf(message, name));
      });
      await client.consume(scriptedTopic(topic), options, run);
    },
    publish(topic, orders, prefix, options = {}) {
      for (const order of orders) {
        const id = `${prefix}${order.n}`;
        void client.publish(scriptedTopic(topic), order, { ...options, id }).then(
          () => dead || confirms.note(confirmOf(id, name)),
          () => undefined,
        );
      }
    },
    replay(topic, group, ratePerSecond) {
      void client
        .deadLetters(scriptedTopic(topic), group)
        .replay(ratePerSecond === undefined ? {} : { ratePerSecond })
        .catch(() => undefined);
    },
    operate(topic, group, operation) {
      void operate(client.deadLetters(scriptedTopic(topic), group), operation).catch(() => undefined);
    },
    died: () => until(`${name} has died`, () => dead),
    kill: async () => die(),
    async close() {
      await client.close();
    },
  };
}
