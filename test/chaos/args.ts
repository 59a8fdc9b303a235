import { parseArgs } from 'node:util';
import { type SabotageName, sabotageNames, scenarioNameOf } from './sabotage.ts';
import { type ScenarioName, scenarioNames, scenarioOf } from './scenario.ts';

export const brokers = ['rabbitmq', 'kafka', 'redis'] as const;
export type BrokerName = (typeof brokers)[number];

export interface Arguments {
  readonly broker: BrokerName;
  /** How long faults go on; warm-up and drain come on top. */
  readonly minutes: number;
  /** Decides the schedule of faults. */
  readonly seed: number;
  /** Whether the ledger's folder stays. */
  readonly keep: boolean;
  /** Short, instead of `minutes` of what the seed says. */
  readonly scenario: ScenarioName | undefined;
  /** What is broken on purpose, in the scenario that it takes. */
  readonly sabotage: SabotageName | undefined;
}

export const usage = `npm run chaos -- [options]
  --broker rabbitmq|kafka|redis   the broker under test (default redis, or the scenario's)
  --minutes N                     how long faults go on, 1 to 1440 (default 10)
  --seed S                        a whole number from 1; the same seed, the same schedule (default: any, printed)
  --keep                          keep the ledger's folder
  --scenario NAME                 a short run instead, of ${scenarioNames.join(', ')}
  --sabotage NAME                 broken on purpose, to see it red: ${sabotageNames.join(', ')}`;

/** Throws a TypeError that says what is wrong with the command line. */
export function readArguments(words: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...words],
    options: {
      broker: { type: 'string' },
      minutes: { type: 'string' },
      seed: { type: 'string' },
      keep: { type: 'boolean', default: false },
      scenario: { type: 'string' },
      sabotage: { type: 'string' },
    },
  });
  const sabotage = oneOf('--sabotage', values.sabotage, sabotageNames);
  const asked = oneOf('--scenario', values.scenario, scenarioNames);
  const scenario = sabotage === undefined ? asked : scenarioNameOf(sabotage);
  for (const name of ['minutes', 'scenario'] as const) {
    if (values[name] !== undefined && (name === 'minutes' ? scenario : sabotage) !== undefined)
      throw new TypeError(
        `--${name} is left out where ${sabotage === undefined ? '--scenario' : '--sabotage'} says it`,
      );
  }
  const broker = oneOf('--broker', values.broker, brokers) ?? (scenario ? scenarioOf(scenario).broker : 'redis');
  return {
    broker,
    scenario,
    sabotage,
    minutes: scenario === undefined ? whole('--minutes', values.minutes ?? '10', 1, 1_440) : 1,
    seed:
      values.seed === undefined
        ? 1 + Math.floor(Math.random() * (2 ** 31 - 2))
        : whole('--seed', values.seed, 1, 2 ** 31 - 1),
    keep: values.keep,
  };
}

function oneOf<T extends string>(name: string, text: string | undefined, choices: readonly T[]): T | undefined {
  const choice = choices.find((each) => each === text);
  if (text === choice) return choice;
  throw new TypeError(`${name} takes ${choices.join(', ')}; received "${text}"`);
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  const why = name === '--minutes' ? '; a shorter run proves nothing' : '';
  throw new TypeError(`${name} takes a whole number from ${least} to ${most}${why}; received "${text}"`);
}
