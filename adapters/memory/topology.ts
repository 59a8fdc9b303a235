import type { AdapterHooks, Topology } from '../../src/port.ts';
import { type Group, group, type MemoryBroker } from './broker.ts';

/** An error with a code of the port's, which the core turns into its own. */
export function adapterError(adapterCode: string, message: string): Error {
  return Object.assign(new Error(message), { adapterCode });
}

/** Creates what is missing, or says that it is (`verify`). Only adds: groups that the caller does not know stay. */
export function declareTopology(broker: MemoryBroker, topology: Topology, mode: AdapterHooks['declare']): void {
  if (mode === 'none') return;
  let topic = broker.topics.get(topology.topic);
  if (topic === undefined) {
    if (mode === 'verify') throw missing(`topic "${topology.topic}"`);
    topic = { name: topology.topic, partitions: topology.partitions, groups: new Map() };
    broker.topics.set(topic.name, topic);
  }
  if (topic.partitions !== topology.partitions) {
    throw adapterError(
      'topology-conflict',
      `topic "${topic.name}" has ${topic.partitions} partitions, declared with ${topology.partitions}; ` +
        'a key would move to another partition: drain the topic and move to a new one',
    );
  }
  for (const wanted of topology.groups) {
    const existing = topic.groups.get(wanted.name);
    if (existing === undefined) {
      if (mode === 'verify') throw missing(`group "${wanted.name}" of topic "${topic.name}"`);
      topic.groups.set(wanted.name, group(topic, wanted.name, wanted.ordered));
    } else if (existing.ordered !== wanted.ordered) {
      throw adapterError(
        'topology-conflict',
        `group "${wanted.name}" of topic "${topic.name}" is ${existing.ordered ? 'ordered' : 'unordered'}, ` +
          `declared as ${wanted.ordered ? 'ordered' : 'unordered'}`,
      );
    }
  }
}

/** The group, which must have been declared. */
export function findGroup(broker: MemoryBroker, topic: string, name: string): Group {
  const found = broker.topics.get(topic)?.groups.get(name);
  if (found === undefined) throw missing(`group "${name}" of topic "${topic}"`);
  return found;
}

function missing(what: string): Error {
  return adapterError('topology-missing', `${what} does not exist and may not be created (declare is not 'create')`);
}
