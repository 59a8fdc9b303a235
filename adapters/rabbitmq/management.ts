import type { Topology } from '../../src/port.ts';
import { adapterError } from './errors.ts';
import type { Settings } from './options.ts';
import { type Binding, bindingsOf, toShards } from './topology.ts';

/** Settings of a policy, an operator policy included, as RabbitMQ has put them together for one queue. */
export type Policy = Readonly<Record<string, unknown>>;

/** The questions that AMQP cannot answer, asked of the management plugin's HTTP API. */
export interface ManagementApi {
  /** Deliveries of this queue that are not settled; 0 where there is no such queue. Up to five seconds old. */
  unsettled(queue: string): Promise<number>;
  /** The settings that policies give to the topic's queues, by name; a new queue is not among them for some seconds. */
  policies(topic: string): Promise<ReadonlyMap<string, Policy>>;
  /** What of the topic's bindings is not there, each as `binding of … to …`; none where all are. */
  missingBindings(topology: Topology): Promise<readonly string[]>;
}

export function managementApi(settings: Settings): ManagementApi | undefined {
  const { management } = settings;
  if (management === undefined) return undefined;
  const { origin, authorization } = management;
  const vhost = encodeURIComponent(settings.vhost);

  async function read(kind: 'queues' | 'exchanges', name: string, rest = ''): Promise<unknown> {
    return await get(`${kind}/${vhost}/${encodeURIComponent(name)}${rest}`);
  }

  async function get(path: string): Promise<unknown> {
    const url = `${origin}/api/${path}`;
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
      const answer = (await read('queues', queue)) as { messages_unacknowledged?: number } | undefined;
      return answer?.messages_unacknowledged ?? 0;
    },
    async policies(topic) {
      const found = new Map<string, Policy>();
      const name = encodeURIComponent(`^${topic.replaceAll('.', '\\.')}:`);
      for (let page = 1, pages = 1; page <= pages; page++) {
        const query = `use_regex=true&name=${name}&page=${page}&page_size=500&columns=name,effective_policy_definition`;
        const answer = (await get(`queues/${vhost}?${query}`)) as QueuePage | undefined;
        pages = answer?.page_count ?? 0;
        for (const { name, effective_policy_definition: policy } of answer?.items ?? []) found.set(name, policy ?? {});
      }
      return found;
    },
    async missingBindings(topology) {
      const shards = toShards(topology);
      const groups = topology.groups.flatMap((group) => bindingsOf(topology, group));
      const wanted = shards === undefined ? groups : [shards, ...groups];
      const bound = new Set<string>();
      for (const source of new Set(wanted.map((each) => each.source))) {
        const bindings = (await read('exchanges', source, '/bindings/source')) as readonly Bound[] | undefined;
        for (const { destination, routing_key: key } of bindings ?? []) bound.add(nameOf({ source, key, destination }));
      }
      return [...new Set(wanted.filter((each) => !bound.has(nameOf(each))).map(describe))];
    },
  };
}

interface QueuePage {
  readonly page_count: number;
  readonly items: readonly { readonly name: string; readonly effective_policy_definition?: Policy }[];
}
interface Bound {
  readonly destination: string;
  readonly routing_key: string;
}

const nameOf = ({ source, key, destination }: Binding): string => JSON.stringify([source, key, destination]);
const describe = ({ source, destination }: Binding): string => `binding of "${destination}" to exchange "${source}"`;
