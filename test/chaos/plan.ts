/** What goes wrong, and when: a function of the seed and the length alone. */

import { type Random, seeded } from '../simulation/random.ts';

export const WINDOW_MS = 20_000;

export const processTargets = ['producer', 'relay', 'consumer'] as const;
export type ProcessTarget = (typeof processTargets)[number];
export const serverTargets = ['broker', 'postgres'] as const;
export type ServerTarget = (typeof serverTargets)[number];
export type Target = ProcessTarget | ServerTarget;

export const networkKinds = [
  'cut',
  'reset',
  'half-open',
  'delay',
  'throttle',
  'slice',
  'black-hole',
  'swallow',
] as const;
export type NetworkKind = (typeof networkKinds)[number];
export type FaultKind = 'kill' | 'pause' | NetworkKind;

export interface Fault {
  readonly kind: FaultKind;
  readonly target: Target;
  /** From the beginning of its window. */
  readonly afterMs: number;
  /** Of a kill: until it is started again. */
  readonly lastsMs: number;
  /** Which of several processes, how slow, how small: 0 up to 1, whatever the kind makes of it. */
  readonly luck: number;
}

/** One entry per window; an empty one is calm. */
export type Plan = readonly (readonly Fault[])[];

export interface Card {
  readonly kind: FaultKind;
  readonly target: Target;
}

/** Kills are in it twice: what they leave behind is worst. */
const DECK: readonly Card[] = [
  ...[...processTargets, ...serverTargets].flatMap((target) => [
    { kind: 'kill', target } as const,
    { kind: 'kill', target } as const,
    { kind: 'pause', target } as const,
  ]),
  ...serverTargets.flatMap((target) => networkKinds.map((kind) => ({ kind, target }))),
];

/** Each kind and target before any comes again; one of four windows is calm, never the first. */
export function planOf(seed: number, minutes: number): Plan {
  const random = seeded(seed);
  const windows = Math.max(2, Math.round((minutes * 60_000) / WINDOW_MS));
  let deck: Card[] = [];
  let calm = 0;
  return Array.from({ length: windows }, (_, index) => {
    if (index % 4 === 0) calm = index + random.int(index === 0 ? 1 : 0, 3);
    if (index === calm) return [];
    // However short the run, a consumer and the broker are killed in it.
    const hand: Card[] =
      index === 0
        ? [
            { kind: 'kill', target: 'consumer' },
            { kind: 'kill', target: 'broker' },
          ]
        : [];
    const size = random.int(2, 4);
    // One fault per target at a time, so that each finds a live one.
    while (hand.length < size) {
      if (!deck.some(({ target }) => fits(hand, target))) deck = [...deck, ...shuffled(DECK, random)];
      const at = deck.findIndex(({ target }) => fits(hand, target));
      hand.push(...deck.splice(at, 1));
    }
    return hand.map((card) => faultOf(card, random));
  });
}

const fits = (hand: readonly Card[], target: Target): boolean => hand.every((card) => card.target !== target);

export function faultOf({ kind, target }: Card, random: Random): Fault {
  const luck = random.next();
  const afterMs = random.int(0, 4_000);
  if (kind === 'kill') return { kind, target, afterMs, lastsMs: random.int(100, 2_000), luck };
  if (kind === 'cut' || kind === 'reset' || kind === 'half-open') return { kind, target, afterMs, lastsMs: 0, luck };
  return { kind, target, afterMs, lastsMs: random.int(1_000, 15_000), luck };
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const copy = [...items];
  for (let last = copy.length - 1; last > 0; last -= 1) {
    const other = random.int(0, last);
    [copy[last], copy[other]] = [copy[other]!, copy[last]!];
  }
  return copy;
}

export const faultsOf = (plan: Plan): readonly Fault[] => plan.flat();
