/** The invariants: what must hold of every run, whatever went wrong in it. */

import type { GroupLedger, Ledger } from './ledger.ts';
import type { Plan, PlannedGroup } from './plan.ts';

export function check(plan: Plan, ledger: Ledger, copies: ReadonlyMap<string, number>): readonly string[] {
  const doubled = new Set([...copies].filter(([, times]) => times > 1).map(([id]) => id));
  const found = [...ledger.problems];
  const say = (what: string, ids: readonly string[]): void => {
    if (ids.length > 0) found.push(`${what}: ${ids.slice(0, 8).join(' ')}`);
  };
  const accepted = [...ledger.attempted.values()].filter(({ outcome }) => outcome === 'accepted');
  say(
    'STUCK publish: unsettled after its deadline',
    [...ledger.attempted.values()]
      .filter(({ outcome, settledAt, deadline }) => outcome !== 'died' && (settledAt ?? Infinity) > deadline + 1_000)
      .map(({ id }) => id),
  );
  say('ALTERED', ledger.altered);
  say('PARKED', [...ledger.parked]);
  for (const group of plan.groups) {
    const seen = ledger.groups.get(group.name)!;
    const effects = new Set(seen.effects);
    const dead = new Set(seen.dead.map(({ id }) => id));
    const called = new Set(seen.calls.map(({ id }) => id));
    const tell = (what: string, ids: readonly string[]): void => say(`${what} in ${describe(group)}`, ids);
    tell(
      'LOST',
      accepted.filter(({ id }) => !effects.has(id) && !dead.has(id)).map(({ id }) => id),
    );
    tell(
      'PHANTOM',
      [...called].filter((id) => !ledger.attempted.has(id) || ledger.rolledBack.has(id)),
    );
    tell(
      'FALSE FAILURE: not-sent, yet delivered',
      [...called].filter((id) => ledger.attempted.get(id)?.outcome === 'not-sent'),
    );
    if (group.guard === 'inbox') {
      tell('DOUBLED', twice(seen.effects));
      // Of two copies one may be given up before the other is handled.
      tell(
        'HANDLED AND DEAD',
        [...effects].filter((id) => dead.has(id) && !doubled.has(id)),
      );
    }
    if (group.ordered) tell('INVERTED', inverted(seen, ledger));
    tell('DEAD WITHOUT A FAILURE', blameless(plan, seen, ledger.disturbed));
    tell('TOO MANY ATTEMPTS', overcalled(plan, group, seen, ledger, doubled));
  }
  return found;
}

const describe = ({ name, ordered, guard, batch }: PlannedGroup): string =>
  `${name} (${ordered ? 'ordered' : 'unordered'}, ${guard === 'inbox' ? 'inbox' : 'no inbox'}, batch ${batch})`;

function twice(ids: readonly string[]): readonly string[] {
  const once = new Set<string>();
  return ids.filter((id) => once.size === once.add(id).size);
}

/** First handlings per key and lane, of accepted messages that were never dead. */
function inverted({ effects, dead }: GroupLedger, { attempted }: Ledger): readonly string[] {
  const gone = new Set(dead.map(({ id }) => id));
  const last = new Map<string, number>();
  const seen = new Set<string>();
  const wrong: string[] = [];
  for (const id of effects) {
    const message = attempted.get(id);
    if (seen.has(id) || gone.has(id) || message?.outcome !== 'accepted') continue;
    seen.add(id);
    const chain = `${message.key}/${message.lane}`;
    if ((last.get(chain) ?? -1) > message.seq) wrong.push(`${id} after ${last.get(chain)} of ${chain}`);
    last.set(chain, Math.max(last.get(chain) ?? -1, message.seq));
  }
  return wrong;
}

/** Given up though no call of its handler failed, or killed its process. */
function blameless(plan: Plan, { dead, calls }: GroupLedger, disturbed: number): readonly string[] {
  const failed = new Set(calls.filter((call) => call.failed).map(({ id }) => id));
  const kills = new Set(plan.messages.filter(({ behaviour }) => behaviour === 'kills').map(({ id }) => id));
  return (
    dead
      .filter(({ id }) => !failed.has(id) && !kills.has(id))
      // Processes that die again and again while they handle it: nobody can tell that it was not its fault.
      .filter(({ reason }) => reason !== 'crashed' || disturbed < 2)
      .map(({ id, reason }) => `${id} (${reason})`)
  );
}

function overcalled(
  plan: Plan,
  group: PlannedGroup,
  { calls }: GroupLedger,
  ledger: Ledger,
  doubled: ReadonlySet<string>,
): readonly string[] {
  const most = (1 + group.immediate) * (1 + group.delays.length);
  const counts = new Map<string, number>();
  for (const { id } of calls) counts.set(id, (counts.get(id) ?? 0) + 1);
  const wrong = calls.filter(({ attempt }) => attempt > most).map(({ id, attempt }) => `${id} call ${attempt}`);
  // What a crash or a lost connection interrupts begins its round again: bounded, but by more than the policy says.
  if (ledger.disturbed > 0 || plan.weather.settleLost > 0 || plan.weather.settleUnconfirmed > 0 || group.breaker)
    return wrong;
  const stores = plan.weather.storeFails + plan.weather.storeReplyLost > 0 && group.guard === 'inbox';
  if (stores || group.batch > 1) return wrong;
  for (const [id, count] of counts) if (!doubled.has(id) && count > most) wrong.push(`${id} ${count} calls of ${most}`);
  return wrong;
}
