import { parseArgs } from 'node:util';
import {
  type BrokerName,
  brokers,
  type HandlerName,
  handlers,
  type Route,
  routes,
  type StoreName,
  stores,
} from './case.ts';
import { type Point, points } from './points.ts';

export interface Arguments {
  readonly brokers: readonly BrokerName[];
  /** `any`: of each point one route, as the seed picks. */
  readonly routes: readonly Route[] | 'any';
  readonly storesOf: (broker: BrokerName) => readonly StoreName[];
  /** `any`: of each point one kind, as the seed picks. */
  readonly handlers: readonly HandlerName[] | 'any';
  readonly points: readonly Point[];
  readonly seed: number;
  /** Cases at once. */
  readonly jobs: number | undefined;
}

export const usage = `npm run crash -- [options]
  --broker sqlite,redis,…     the brokers: ${brokers.join(', ')} (default sqlite); "ci" is SQLite and one more, which
                              the commit decides on, with PostgreSQL's store
  --route direct,outbox,…     the ways of a message to the broker: ${routes.join(', ')} (default all);
                              "any" is one of them for each point
  --store sqlite,postgres     of outbox, inbox, halts and spilled messages (default sqlite; with "ci" see there)
  --handler one,batch         messages of one handler call (default one; with "ci" any); "batch" has the points of the
                              consumer's side alone; "any" is one of them for each point
  --point NAME,…              the crash points (default all)
  --seed S                    which of the times that a point is reached kills (default 1)
  --jobs N                    cases at once`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[], commit: () => string): Arguments {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...words],
    options: { broker: text, route: text, store: text, handler: text, point: text, seed: text, jobs: text },
  });
  const names = points.map(({ name }) => name);
  const chosen = values.point === undefined ? names : listed('--point', values.point, names);
  const ci = values.broker === 'ci';
  const { store, handler = ci ? 'any' : 'one' } = values;
  const chosenStores = store === undefined ? undefined : listed('--store', store, stores);
  return {
    brokers: ci ? rotating(commit()) : listed('--broker', values.broker ?? 'sqlite', brokers),
    routes: values.route === 'any' ? 'any' : listed('--route', values.route ?? routes.join(), routes),
    storesOf: (broker) => chosenStores ?? [ci && broker !== 'sqlite' ? 'postgres' : 'sqlite'],
    handlers: handler === 'any' ? 'any' : listed('--handler', handler, handlers),
    points: points.filter(({ name }) => chosen.includes(name)),
    seed: whole('--seed', values.seed ?? '1', 2 ** 31 - 1),
    jobs: values.jobs === undefined ? undefined : whole('--jobs', values.jobs, 64),
  };
}

/** SQLite, and one of the others by the commit. */
export function rotating(commit: string): readonly BrokerName[] {
  const others = brokers.filter((name) => name !== 'sqlite');
  return ['sqlite', others[Number.parseInt(commit.slice(0, 8), 16) % others.length] ?? others[0]!];
}

function listed<T extends string>(name: string, text: string, choices: readonly T[]): readonly T[] {
  return [...new Set(text.split(','))].map((word) => {
    const found = choices.find((choice) => choice === word);
    if (found !== undefined) return found;
    throw new TypeError(`${name} knows no ${JSON.stringify(word)}; it knows ${choices.join(', ')}`);
  });
}

function whole(name: string, text: string, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  throw new TypeError(`${name} takes a whole number from 1 to ${most}; received ${JSON.stringify(text)}`);
}
