import type { Arguments } from './args.ts';
import { type BrokerName, type Route, routes } from './case.ts';
import type { Point } from './points.ts';
import type { Planned } from './run-case.ts';

/** The cases there are: each point on each broker that has it, over each route that leads there. */
export function planOf(
  { points, brokers, routes: wanted, seed }: Omit<Arguments, 'jobs'>,
  urlOf: (broker: BrokerName) => string,
): readonly Planned[] {
  return brokers.flatMap((broker) =>
    points
      .filter((point) => point.brokers?.includes(broker) ?? true)
      .flatMap((point) =>
        routesOf(point, broker, { wanted, seed }).map((route): Planned => {
          const nth = 1 + (numberOf(`${seed} ${point.name} ${broker} ${route}`) % (point.hits ?? 1));
          return { point, broker, url: urlOf(broker), route, nth };
        }),
      ),
  );
}

function routesOf(
  { name, routes: own = routes }: Point,
  broker: BrokerName,
  { wanted, seed }: { readonly wanted: readonly Route[] | 'any'; readonly seed: number },
): readonly Route[] {
  if (wanted === 'any') return [own[numberOf(`${seed} ${name} ${broker}`) % own.length]!];
  return own.filter((route) => wanted.includes(route));
}

/** The same for the same text, and spread (FNV-1a). */
function numberOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  return (hash ^ (hash >>> 15)) >>> 0;
}
