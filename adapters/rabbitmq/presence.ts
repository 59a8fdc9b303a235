import type { ChannelModel } from 'amqplib';
import type { AdapterHooks, Topology } from '../../src/port.ts';
import { onThrowaway, type Throwaway } from './channels.ts';
import {
  createDeadQueue,
  createGroupExchange,
  createPath,
  createTopology,
  missing,
  refuseLongNames,
  refuseOtherOrder,
  verifyNames,
  verifyTopology,
} from './declare.ts';
import { MAX_DELAY_MS, rungName, rungsFor } from './delays.ts';
import { adapterError, asError } from './errors.ts';
import { type Finding, type Findings, findings } from './findings.ts';
import type { ManagementApi } from './management.ts';
import { deadQueue, groupExchange, groupLadder, groupOf, merge, topicLadder } from './topology.ts';

/** Time between two checks that what was declared is still there (S6). */
const RECHECK_MS = 30_000;
/** Topics that are checked at the same time. */
const RECHECK_CHANNELS = 8;

export interface Again {
  /** @default every topic */
  readonly topic?: string | undefined;
  /** Look at what only the management API knows, too. @default false */
  readonly ask?: boolean;
}

/** Remembers what was declared, and declares it again on each connect and every 30 s. */
export interface Presence {
  declare(topology: Topology): Promise<void>;
  /** All that is known of the topic, or what is given where nothing was declared. */
  known(topology: Topology): Topology;
  /** Declares again what is remembered, of one topic or all; what fails is a warning event. */
  again(model: ChannelModel, which?: Again): Promise<void>;
  /** The group's dead-letter queue, created by its first consumer. */
  dead(topology: Topology, group: string): Promise<void>;
  /** Rungs for a delayed publish, or for a retry of this group alone; created on first need. Returns where to publish. */
  delay(topology: Topology, group: string | undefined, delayMs: number): Promise<{ exchange: string; rungs: string }>;
  /** What needs somebody's hand. */
  readonly findings: Findings;
  /** After something turned out to be gone: the next need creates it again. */
  forget(): void;
  close(): void;
}

export function presence(options: {
  readonly hooks: AdapterHooks;
  readonly management: ManagementApi | undefined;
  /** A connection to declare on. */
  readonly model: () => Promise<ChannelModel>;
}): Presence {
  const { hooks, management } = options;
  const declared = new Map<string, Topology>();
  const ensured = new Map<string, Promise<void>>();
  const found = findings(hooks, management);

  /** `ask`: what only the management API knows is looked at, too. Not where a lost connection waits for us. */
  async function apply(model: ChannelModel, topology: Topology, ask: boolean): Promise<void> {
    const now: Finding[] = [];
    if (hooks.declare === 'create') {
      await onThrowaway(model, (on) => createTopology(on, topology, (finding) => void now.push(finding)));
    } else if (hooks.declare === 'verify') {
      await onThrowaway(model, (on) => verifyTopology(on, topology));
      if (ask) for (const binding of (await management?.missingBindings(topology)) ?? []) throw missing(binding);
    }
    if (ask) found.declared(topology, now);
  }

  /** Neither a confirm nor a return tells of these while another group is bound; where we may ask, we do. */
  async function goneBindings(topology: Topology): Promise<readonly string[]> {
    if (hooks.declare !== 'create' || management === undefined) return [];
    return await management.missingBindings(topology).catch(() => []);
  }

  async function again(model: ChannelModel, { topic, ask = false }: Again = {}): Promise<void> {
    ensured.clear();
    const topologies = [...declared.values()].filter((topology) => topic === undefined || topology.topic === topic);
    const worker = async (): Promise<void> => {
      for (let next = topologies.shift(); next !== undefined; next = topologies.shift()) {
        try {
          const gone = ask ? await goneBindings(next) : [];
          await apply(model, next, ask);
          for (const binding of gone) {
            const detail = `${binding}: it was gone and is there again; what was published meanwhile did not get there`;
            hooks.emit({ type: 'warning', code: 'binding-restored', detail });
          }
        } catch (error) {
          const detail = `topic "${next.topic}" could not be checked: ${asError(error).message}`;
          hooks.emit({ type: 'warning', code: 'topology', detail });
        }
      }
    };
    await Promise.all(Array.from({ length: RECHECK_CHANNELS }, worker));
  }

  const timer = setInterval(() => {
    void options.model().then(
      (model) => again(model, { ask: true }),
      () => {},
    );
  }, RECHECK_MS);
  timer.unref();

  /** Runs `create` once per name until `forget`; with `declare: 'verify'` runs `check` instead, with `'none'` neither. */
  function ensure(
    name: string,
    create: (on: Throwaway) => Promise<void>,
    check: (on: Throwaway) => Promise<void>,
  ): Promise<void> {
    const running = ensured.get(name);
    if (running !== undefined) return running;
    const work = hooks.declare === 'create' ? create : check;
    const started =
      hooks.declare === 'none' ? Promise.resolve() : options.model().then((model) => onThrowaway(model, work));
    ensured.set(name, started);
    started.catch(() => {
      if (ensured.get(name) === started) ensured.delete(name);
    });
    return started;
  }

  function known(topology: Topology): Topology {
    return merge(declared.get(topology.topic), topology);
  }

  return {
    known,
    again,
    async declare(topology) {
      refuseLongNames(topology);
      const model = await options.model();
      if (hooks.declare === 'create') await onThrowaway(model, (on) => refuseOtherOrder(on, topology));
      await apply(model, topology, true);
      declared.set(topology.topic, known(topology));
    },
    dead(topology, group) {
      const name = deadQueue(topology.topic, group);
      return ensure(
        name,
        (on) => createDeadQueue(on, topology.topic, group, found.add),
        (on) => verifyNames(on, { exchanges: [], queues: [name] }),
      );
    },
    async delay(topology, group, delayMs) {
      if (!(delayMs <= MAX_DELAY_MS)) {
        throw adapterError('unsupported', `RabbitMQ delays up to ${MAX_DELAY_MS} ms; received ${delayMs}`);
      }
      const { topic } = topology;
      const ladder = group === undefined ? topicLadder(topic) : groupLadder(topic, group);
      const target = group === undefined ? topic : groupExchange(topic, group);
      const rungs = rungsFor(delayMs);
      const create = async (on: Throwaway): Promise<void> => {
        if (group !== undefined) await createGroupExchange(on, topology, groupOf(topology, group));
        await createPath(on, { ladder, rungs, target }, found.add);
      };
      const names = rungs.map((rung) => rungName(ladder, rung));
      const check = (on: Throwaway): Promise<void> =>
        verifyNames(on, { exchanges: [ladder, ...names, ...(group === undefined ? [] : [target])], queues: names });
      const path = rungs.join('.');
      await ensure(`${ladder} ${path}`, create, check);
      return { exchange: ladder, rungs: path };
    },
    findings: found,
    forget: () => ensured.clear(),
    close() {
      clearInterval(timer);
      found.close();
    },
  };
}
