import type { AdapterHooks, Topology } from '../../src/port.ts';
import type { ManagementApi } from './management.ts';
import { judgePolicies } from './policies.ts';
import { placesOf } from './topology.ts';

/** Something that needs a hand of the operator's: `about` tells one from another. */
export interface Finding {
  readonly about: string;
  readonly code: string;
  readonly detail: string;
}

/** What is not as it should be, until it is found mended: red in health, and a warning event when it is new. */
export interface Findings {
  list(): readonly Finding[];
  add(finding: Finding): void;
  mended(about: string): void;
  /** What a declaration of the topic found. With the management API, policies are looked at too, in the background. */
  declared(topology: Topology, found: readonly Finding[]): void;
  close(): void;
}

export function findings(hooks: AdapterHooks, management: ManagementApi | undefined): Findings {
  const open = new Map<string, Finding>();
  let closed = false;

  function add(finding: Finding): void {
    const { about, code, detail } = finding;
    const known = open.get(about);
    open.set(about, finding);
    if (known?.detail !== detail) hooks.emit({ type: 'warning', code, detail });
  }

  async function judge({ topic }: Topology, found: readonly Finding[]): Promise<void> {
    const verdict = await judgePolicies(topic, management);
    if (closed) return;
    // Where the API does not answer, what was found stands.
    for (const finding of found) if (!verdict?.unlimited.has(finding.about)) add(finding);
    if (verdict === undefined) return;
    for (const queue of verdict.unlimited) open.delete(queue);
    const harms = [...verdict.harms].map(([queue, harm]) => policyFinding(queue, harm));
    const earlier = [...open.keys()].filter((about) => about.startsWith(aboutPolicy(`${topic}:`)));
    for (const about of earlier) if (!harms.some((harm) => harm.about === about)) open.delete(about);
    for (const harm of harms) add(harm);
  }

  return {
    list: () => [...open.values()],
    add,
    mended: (about) => void open.delete(about),
    declared(topology, found) {
      const queues = topology.groups.flatMap((group) => placesOf(topology, group)).map(({ queue }) => queue);
      for (const queue of queues) if (!found.some(({ about }) => about === queue)) open.delete(queue);
      if (management !== undefined) void judge(topology, found);
      else for (const finding of found) add(finding);
    },
    close() {
      closed = true;
    },
  };
}

const aboutPolicy = (queue: string): string => `policy of ${queue}`;

function policyFinding(queue: string, harm: string): Finding {
  const code = harm.startsWith('delivery-limit') ? 'delivery-limit' : 'policy';
  return { about: aboutPolicy(queue), code, detail: `a policy gives queue "${queue}" ${harm}` };
}
