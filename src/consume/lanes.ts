import type { Priority } from '../port.ts';

/** Something for each lane. */
export type Lanes<T> = Readonly<Record<Priority, T>>;
export const byLane = <T>(make: () => T): Lanes<T> => ({ high: make(), normal: make(), low: make() });

export type LaneWeights = Lanes<number>;
export const LANES: readonly Priority[] = ['high', 'normal', 'low'];
export const DEFAULT_WEIGHTS: LaneWeights = { high: 64, normal: 8, low: 1 };

/**
 * Picks which of several ready lanes goes next: smooth weighted round robin, so that over any stretch each lane gets its
 * share by weight and none waits for ever (G6).
 */
export function lanePicker(weights: LaneWeights): (ready: (lane: Priority) => boolean) => Priority | undefined {
  const credit: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  return (ready) => {
    let best: Priority | undefined;
    let total = 0;
    for (const lane of LANES) {
      if (!ready(lane)) continue;
      credit[lane] += weights[lane];
      total += weights[lane];
      if (best === undefined || credit[lane] > credit[best]) best = lane;
    }
    if (best !== undefined) credit[best] -= total;
    return best;
  };
}
