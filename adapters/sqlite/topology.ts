import type { DatabaseSync } from 'node:sqlite';
import type { AdapterHooks, Topology } from '../../src/port.ts';
import { adapterError } from './errors.ts';
import type { Writer } from './writer.ts';

export interface GroupRow {
  readonly id: number;
  readonly name: string;
  readonly ordered: boolean;
  /** Shards of the group: the topic's partitions where it is ordered, else one. */
  readonly shards: number;
}

/** The registry of topics and groups: the broker's, not a client's. */
export interface Registry {
  /** Creates what is missing, or says that it is (`verify`). Only adds. */
  declare(topology: Topology, mode: AdapterHooks['declare']): Promise<void>;
  /** As registered at this moment: a group may have been added by another process. */
  groups(topic: string): readonly GroupRow[];
  /** Throws where it was not declared. */
  group(topic: string, name: string): GroupRow;
}

interface Missing {
  readonly topic: boolean;
  /** What the topic has not; `unsaid` where nobody has said whether it has any. */
  readonly lanes: boolean | 'unsaid';
  readonly groups: Topology['groups'];
}

export function createRegistry(db: DatabaseSync, writer: Writer): Registry {
  const findTopic = db.prepare('SELECT id, partitions, lanes FROM hf_topics WHERE name = ?');
  const addTopic = db.prepare('INSERT INTO hf_topics (name, partitions, lanes) VALUES (?, ?, ?)');
  const setLanes = db.prepare('UPDATE hf_topics SET lanes = ? WHERE id = ?');
  const listGroups = db.prepare(
    'SELECT g.id, g.name, g.ordered, t.partitions FROM hf_topics t JOIN hf_groups g ON g.topic = t.id WHERE t.name = ?',
  );
  const addGroup = db.prepare('INSERT INTO hf_groups (topic, name, ordered) VALUES (?, ?, ?)');
  const addShard = db.prepare('INSERT INTO hf_shards (grp, shard, owner, epoch, until) VALUES (?, ?, 0, 0, 0)');

  function groups(topic: string): readonly GroupRow[] {
    return listGroups.all(topic).map((row) => ({
      id: row.id as number,
      name: row.name as string,
      ordered: row.ordered === 1,
      shards: row.ordered === 1 ? (row.partitions as number) : 1,
    }));
  }

  // What is missing; throws on what contradicts.
  function compare(topology: Topology): Missing {
    const topic = findTopic.get(topology.topic);
    if (topic === undefined) return { topic: true, lanes: false, groups: topology.groups };
    if (topic.partitions !== topology.partitions) {
      throw adapterError(
        'topology-conflict',
        `topic "${topology.topic}" has ${topic.partitions} partitions, declared with ${topology.partitions}; ` +
          'a key would move to another partition: drain the topic and move to a new one',
      );
    }
    if (topic.lanes === 1 && !topology.lanes) {
      throw adapterError(
        'topology-conflict',
        `topic "${topology.topic}" has the lanes high, normal and low, declared without priority; keep its priority, or ` +
          `stop its publishers, drain it and say UPDATE hf_topics SET lanes = 0 WHERE name = '${topology.topic}'`,
      );
    }
    const existing = groups(topology.topic);
    const missing = topology.groups.filter((wanted) => {
      const found = existing.find((group) => group.name === wanted.name);
      if (found !== undefined && found.ordered !== wanted.ordered) {
        throw adapterError(
          'topology-conflict',
          `group "${wanted.name}" of topic "${topology.topic}" is ${found.ordered ? 'ordered' : 'unordered'}, ` +
            `declared as ${wanted.ordered ? 'ordered' : 'unordered'}`,
        );
      }
      return found === undefined;
    });
    const lanes = topic.lanes === null ? 'unsaid' : topology.lanes && topic.lanes === 0;
    return { topic: false, lanes, groups: missing };
  }

  function create(topology: Topology): void {
    // Again, now under the lock: another process may have been faster.
    const missing = compare(topology);
    const lanes = topology.lanes ? 1 : 0;
    if (missing.topic) addTopic.run(topology.topic, topology.partitions, lanes);
    const topic = findTopic.get(topology.topic)!.id as number;
    if (missing.lanes) setLanes.run(lanes, topic);
    for (const group of missing.groups) {
      const id = addGroup.run(topic, group.name, group.ordered ? 1 : 0).lastInsertRowid;
      for (let shard = 0; group.ordered && shard < topology.partitions; shard += 1) addShard.run(id, shard);
    }
  }

  return {
    groups,
    group(topic, name) {
      const found = groups(topic).find((group) => group.name === name);
      if (found === undefined) throw missingError(`group "${name}" of topic "${topic}"`);
      return found;
    },
    async declare(topology, mode) {
      if (mode === 'none') return;
      const missing = compare(topology);
      if (mode === 'verify') {
        const [group] = missing.groups;
        if (missing.topic) throw missingError(`topic "${topology.topic}"`);
        if (missing.lanes === true) throw missingError(`topic "${topology.topic}" with the lanes high, normal and low`);
        if (group !== undefined) throw missingError(`group "${group.name}" of topic "${topology.topic}"`);
        return;
      }
      if (!missing.topic && !missing.lanes && missing.groups.length === 0) return;
      await writer.write(() => create(topology), { durable: true, notify: false });
    },
  };
}

function missingError(what: string): Error {
  return adapterError('topology-missing', `${what} does not exist and may not be created (declare is not 'create')`);
}
