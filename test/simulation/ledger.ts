/** What a run saw, kept outside of everything that fails. */

export type Published = 'accepted' | 'not-sent' | 'unknown' | 'died';

export interface Attempted {
  readonly id: string;
  readonly key: string;
  readonly seq: number;
  readonly lane: string;
  outcome: Published;
  /** When it had to be settled, and when it was. */
  readonly deadline: number;
  settledAt: number | undefined;
}
export interface Call {
  readonly id: string;
  readonly attempt: number;
  failed: boolean;
}
export interface GroupLedger {
  readonly calls: Call[];
  /** Successful handlings in their order; with an inbox, committed ones. */
  readonly effects: string[];
  readonly dead: { readonly id: string; readonly reason: string }[];
}

export interface Ledger {
  readonly attempted: Map<string, Attempted>;
  readonly rolledBack: Set<string>;
  readonly parked: Set<string>;
  readonly groups: Map<string, GroupLedger>;
  readonly altered: string[];
  readonly problems: string[];
  /** How often something died or lost its deliveries: each may call a handler once more. */
  disturbed: number;
}

export const newLedger = (groups: readonly string[]): Ledger => ({
  attempted: new Map(),
  rolledBack: new Set(),
  parked: new Set(),
  groups: new Map(groups.map((name) => [name, { calls: [], effects: [], dead: [] }])),
  altered: [],
  problems: [],
  disturbed: 0,
});
