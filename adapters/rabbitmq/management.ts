import type { Topology } from '../../src/port.ts';
import { missing } from './declare.ts';
import { adapterError } from './errors.ts';
import type { Settings } from './options.ts';
import { placesOf, shardsExchange } from './topology.ts';

/** The two questions that AMQP cannot answer, asked of the management plugin's HTTP API. */
export interface ManagementApi {
  /** Deliveries of this queue that are not settled; 0 where there is no such queue. Up to five seconds old. */
  unsettled(queue: string): Promise<number>;
  /** Throws `topology-missing` where a group's queue is not bound to the topic. */
  verifyBindings(topology: Topology): Promise<void>;
}

export function managementApi(settings: Settings): ManagementApi | undefined {
  const { management } = settings;
  if (management === undefined) return undefined;
  const { origin, authorization } = management;
  const vhost = encodeURIComponent(settings.vhost);

  async function read(queue: string, rest = ''): Promise<unknown> {
    const url = `${origin}/api/queues/${vhost}/${encodeURIComponent(queue)}${rest}`;
    let response: Response;
    try {
      response = await fetch(url, { headers: { authorization }, signal: AbortSignal.timeout(5_000) });
    } catch (cause) {
      throw adapterError('broker-unreachable', `the management API at ${origin} did not answer`, cause);
    }
    if (response.status === 404) return undefined;
    if (response.ok) return await response.json();
    const code = response.status === 401 || response.status === 403 ? 'access-refused' : 'broker-unreachable';
    throw adapterError(code, `the management API at ${origin} answered ${response.status}`);
  }

  return {
    async unsettled(queue) {
      const answer = (await read(queue)) as { messages_unacknowledged?: number } | undefined;
      return answer?.messages_unacknowledged ?? 0;
    },
    async verifyBindings(topology) {
      for (const group of topology.groups) {
        const source = group.ordered && !topology.lanes ? shardsExchange(topology.topic) : topology.topic;
        for (const { queue } of placesOf(topology, group)) {
          const bindings = ((await read(queue, '/bindings')) ?? []) as readonly { source?: string }[];
          if (!bindings.some((binding) => binding.source === source)) {
            throw missing(`binding of queue "${queue}" to exchange "${source}"`);
          }
        }
      }
    },
  };
}
