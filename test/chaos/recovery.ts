/** How long after a server could be reached again the next message was confirmed, and the next one handled. */

import type { DatabaseSync } from 'node:sqlite';

export interface Recovery {
  readonly what: string;
  readonly times: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface Outage {
  readonly kind: string;
  readonly target: string;
  readonly t0: number;
  readonly t1: number;
}

/** Milliseconds. A server that comes back while another is away counts from when both are there. */
export function recoveries(db: DatabaseSync): readonly Recovery[] {
  const faults = db.prepare(`select kind, target, t0, t1 from fault order by t0`).all() as unknown as Outage[];
  const outages = faults.filter(({ target }) => target === 'broker' || target === 'postgres');
  const nextOf = {
    confirmed: db.prepare(
      `select min(t1) at from call where t1 > ? and outcome = 'ok' and id in (select id from msg where route = 'direct')`,
    ),
    handled: db.prepare('select min(at) at from handled where at > ?'),
  };
  const found: Recovery[] = [];
  for (const [name, target, kinds] of [
    ['kill broker', 'broker', ['kill']],
    ['kill postgres', 'postgres', ['kill']],
    ['other fault of broker', 'broker', undefined],
    ['other fault of postgres', 'postgres', undefined],
  ] as const) {
    const mine = outages.filter(
      (each) => each.target === target && (kinds ? each.kind === 'kill' : each.kind !== 'kill'),
    );
    for (const step of target === 'broker' ? (['confirmed', 'handled'] as const) : (['handled'] as const)) {
      // A frozen or killed producer is the only one that publishes directly.
      const others =
        step === 'confirmed' ? faults.filter((each) => each.target !== 'relay' && each.target !== 'consumer') : outages;
      const took = mine
        .map((outage) => {
          const from = reachableAfter(outage, others);
          const { at } = nextOf[step].get(from) as { at: number | null };
          return at === null ? Number.POSITIVE_INFINITY : at - from;
        })
        .sort((one, other) => one - other);
      if (took.length === 0) continue;
      found.push({
        what: `${name}, ${step}`,
        times: took.length,
        p50: quantile(took, 0.5),
        p99: quantile(took, 0.99),
        max: quantile(took, 1),
      });
    }
  }
  return found;
}

/** The end of this outage, or of one that had begun by then, and so on. */
function reachableAfter(outage: Outage, others: readonly Outage[]): number {
  let end = outage.t1;
  for (const { t0, t1 } of others) if (t0 <= end && t1 > end) end = t1;
  return end;
}

export function quantile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0);
}
