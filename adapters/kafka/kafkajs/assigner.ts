import type { Assigner, AssignerProtocol } from 'kafkajs';
import { type Candidate, spread } from '../assign.ts';
import type { GroupSpec, Place } from '../client.ts';

const NAME = 'holdfast-sticky';
const VERSION = 1;

/**
 * kafkajs's view of `spread`. Each member says in its user data which units it owns, as `[[pool 0's], [pool 1's]]`, so
 * that whoever leads can leave them there. `joining` is called synchronously as each JoinGroup request is made.
 */
export function stickyAssigner(
  codec: typeof AssignerProtocol,
  spec: GroupSpec,
  owned: () => readonly Place[],
  joining: () => void,
): Assigner {
  const unitOf = new Map<string, readonly [pool: number, unit: number]>();
  for (const [pool, units] of spec.pools.entries())
    for (const [unit, places] of units.entries()) for (const place of places) unitOf.set(nameOf(place), [pool, unit]);

  function claims(): number[][] {
    const sets = spec.pools.map(() => new Set<number>());
    for (const place of owned()) {
      const found = unitOf.get(nameOf(place));
      if (found) sets[found[0]]!.add(found[1]);
    }
    return sets.map((set) => [...set].sort((a, b) => a - b));
  }

  return {
    name: NAME,
    version: VERSION,
    protocol({ topics }) {
      const userData = Buffer.from(JSON.stringify(claims()));
      joining();
      return { name: NAME, metadata: codec.MemberMetadata.encode({ version: VERSION, topics, userData }) };
    },
    async assign({ members }) {
      const candidates = members.map(({ memberId, memberMetadata }): Candidate => {
        const metadata = codec.MemberMetadata.decode(memberMetadata);
        return { id: memberId, owned: claimsOf(metadata?.userData) };
      });
      const shares = spread(
        spec.pools.map((units) => units.length),
        candidates,
      );
      return [...shares].map(([memberId, byPool]) => {
        const assignment: Record<string, number[]> = {};
        for (const [pool, units] of byPool.entries())
          for (const unit of units)
            for (const { topic, partition } of spec.pools[pool]![unit]!) {
              assignment[topic] ??= [];
              assignment[topic].push(partition);
            }
        const memberAssignment = codec.MemberAssignment.encode({
          version: VERSION,
          assignment,
          userData: Buffer.alloc(0),
        });
        return { memberId, memberAssignment };
      });
    },
  };
}

const nameOf = ({ topic, partition }: Place): string => `${topic}/${partition}`;

function claimsOf(userData: Buffer | undefined): readonly (readonly number[])[] {
  try {
    const value: unknown = JSON.parse(userData?.toString() ?? '[]');
    if (!Array.isArray(value)) return [];
    return value.map((units) => (Array.isArray(units) ? units.filter((unit) => Number.isInteger(unit)) : []));
  } catch {
    return [];
  }
}
