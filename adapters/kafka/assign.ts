/** A member as the leader of a group sees it: what it says it owns, by pool. */
export interface Candidate {
  readonly id: string;
  readonly owned: readonly (readonly number[])[];
}

/**
 * Spreads the units of each pool evenly and leaves as much as possible where it is. Returns the units of each member, by
 * pool. The same input gives the same answer, whoever leads.
 */
export function spread(pools: readonly number[], members: readonly Candidate[]): Map<string, number[][]> {
  const sorted = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const result = new Map(sorted.map(({ id }) => [id, pools.map((): number[] => [])]));
  let taken = 0;
  for (const [pool, units] of pools.entries()) {
    // Later pools give their odd units to others than earlier ones did.
    const turned = [...sorted.slice(taken % sorted.length), ...sorted.slice(0, taken % sorted.length)];
    spreadPool(units, pool, turned, result);
    taken += units % sorted.length;
  }
  return result;
}

function spreadPool(units: number, pool: number, members: readonly Candidate[], result: Map<string, number[][]>): void {
  const least = Math.floor(units / members.length);
  let odd = units % members.length;
  const free = new Set(Array.from({ length: units }, (_, unit) => unit));
  const wanting: number[][] = [];
  // Those who own most keep the odd units.
  const owners = members.toSorted((a, b) => (b.owned[pool]?.length ?? 0) - (a.owned[pool]?.length ?? 0));
  for (const { id, owned } of owners) {
    const mine = result.get(id)![pool]!;
    const claims = (owned[pool] ?? []).filter((unit) => free.has(unit));
    const share = odd > 0 && claims.length > least ? least + 1 : least;
    if (share > least) odd--;
    for (const unit of claims.slice(0, share)) {
      mine.push(unit);
      free.delete(unit);
    }
    wanting.push(mine);
  }
  for (const mine of wanting) while (mine.length < least) take(free, mine);
  for (const mine of wanting) if (free.size > 0 && mine.length === least) take(free, mine);
}

function take(free: Set<number>, mine: number[]): void {
  for (const unit of free) {
    free.delete(unit);
    mine.push(unit);
    return;
  }
}
