/** Topics and environments in one value: the same code on SQLite while developing, on the team's broker in production. */

import { type ConnectOptions, clientChecks } from './connect-options.ts';
import { HoldfastError } from './errors.ts';
import { type Check, type Checks, nearest, OptionsError, object, problemsOf } from './options.ts';
import type { RelayOptions } from './outbox/relay.ts';
import { type SpillOptions, spillCheck } from './outbox/spill-options.ts';
import type { BrokerAdapter, Store } from './port.ts';
import { printable } from './printable.ts';
import { isTopic, type Topic } from './topic.ts';

export interface Environment extends Omit<ConnectOptions, 'adapter' | 'spill'> {
  /** A URL, or a function that makes the adapter, so that only the chosen one is loaded. */
  readonly adapter: string | (() => BrokerAdapter | Promise<BrokerAdapter>);
  /** Makes the store whose outbox `holdfast relay` publishes. */
  readonly store?: () => Store<unknown> | Promise<Store<unknown>>;
  /** As in `connect`; or a function that makes it, so that only the chosen environment's is opened. Then the client closes the store. */
  readonly spill?: ConnectOptions['spill'] | (() => OwnSpill | Promise<OwnSpill>);
  readonly relay?: Omit<RelayOptions<unknown>, 'client' | 'outbox'>;
}

/** With a store of which nobody else knows. */
export type OwnSpill = Store<unknown> | (SpillOptions & { readonly store: Store<unknown> });

export interface Config {
  readonly topics: readonly Topic[];
  readonly environments: Readonly<Record<string, Environment>>;
}

const CONFIG: symbol = Symbol.for('holdfast.config');

const topicsCheck: Check = (value) =>
  Array.isArray(value) && value.every(isTopic) ? undefined : 'must be an array of topics made by defineTopic';
const adapterCheck: Check = (value) =>
  typeof value === 'string' || typeof value === 'function'
    ? undefined
    : 'must be a URL or a function that returns an adapter';

const storeCheck: Check = (value) =>
  typeof value === 'function' ? undefined : 'must be a function that returns a store';
const spillOrMaker: Check = (value) => (typeof value === 'function' ? undefined : spillCheck(value));
const ENVIRONMENT: Checks = {
  ...clientChecks,
  spill: spillOrMaker,
  adapter: adapterCheck,
  store: storeCheck,
  relay: object,
};
const EXAMPLE = "adapter: 'amqp://localhost'";

/** Checks and freezes a config. Throws a TypeError that names every wrong option. */
export function defineConfig(config: Config): Config {
  const required = { topics: 'topics: [orders]', environments: 'environments: { development: { … } }' };
  const checks = { topics: topicsCheck, environments: object };
  const problems = [...problemsOf('defineConfig', config, checks, required)];
  if (problems.length === 0) {
    for (const [name, environment] of Object.entries(config.environments)) {
      const what = `environment "${printable(name, 64)}"`;
      const wrong = problemsOf(what, environment, ENVIRONMENT, { adapter: EXAMPLE });
      problems.push(...wrong.map((problem) => `${what}: ${problem}`));
    }
    const names = config.topics.map(({ name }) => name);
    const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index));
    problems.push(...[...twice].map((name) => `topic "${name}" is there twice`));
  }
  if (problems.length > 0) throw new OptionsError('defineConfig', problems);
  return Object.freeze(Object.defineProperty({ ...config }, CONFIG, { value: true }));
}

export function isConfig(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && (value as { [key: symbol]: unknown })[CONFIG] === true;
}

/** The settings for `HOLDFAST_ENV ?? NODE_ENV ?? 'development'`. */
export function environmentOf(
  config: Config,
  variables: NodeJS.ProcessEnv,
): { readonly name: string; readonly settings: Environment } {
  const name = variables.HOLDFAST_ENV ?? variables.NODE_ENV ?? 'development';
  const settings = Object.hasOwn(config.environments, name) ? config.environments[name] : undefined;
  if (settings === undefined) {
    const names = Object.keys(config.environments);
    const near = nearest(name, names);
    throw new HoldfastError(
      'config-invalid',
      `The config has no environment "${printable(name, 64)}"${near === undefined ? '' : ` (did you mean "${near}"?)`}; it has ${names.map((each) => `"${each}"`).join(', ')}. Set HOLDFAST_ENV to one of them`,
    );
  }
  return { name, settings };
}
