import type { Arguments } from './args.ts';
import { type BrokerName, type HandlerName, handlers, type Route, routes, type StoreName } from './case.ts';
import { handlersOf, type Point } from './points.ts';
import type { Planned } from './run-case.ts';

/**
 * The cases there are: each point on each broker that has it, over each route that leads there, with each store and kind
 * of handler that it is to be tried with. What takes no other way with batches is not tried with them.
 */
export function planOf(
  { points, brokers, routes: wanted, storesOf, handlers: kinds, seed }: Omit<Arguments, 'jobs'>,
  urlOf: (server: BrokerName | StoreName) => string,
): readonly Planned[] {
  const picked = { routes: wanted, handlers: kinds, seed };
  return brokers.flatMap((broker) =>
    storesOf(broker).flatMap((store) =>
      points
        .filter((point) => (point.brokers?.includes(broker) ?? true) && (point.stores?.includes(store) ?? true))
        .flatMap((point) => waysOf(point, broker, picked).map((way) => ({ point, ...way })))
        .map(({ point, route, handler }): Planned => {
          // Batches come less often to where single messages come.
          const hits = Math.ceil((point.hits ?? 1) / (handler === 'batch' ? 2 : 1));
          const nth = 1 + (numberOf(`${seed} ${point.name} ${broker} ${route}`) % hits);
          const storeUrl = store === 'sqlite' ? '' : urlOf(store);
          return { point, broker, url: urlOf(broker), route, store, storeUrl, handler, nth };
        }),
    ),
  );
}

interface Way {
  readonly route: Route;
  readonly handler: HandlerName;
}

function waysOf(
  point: Point,
  broker: BrokerName,
  { routes: wanted, handlers: kinds, seed }: Pick<Arguments, 'routes' | 'handlers' | 'seed'>,
): readonly Way[] {
  const own = point.routes ?? routes;
  const able = handlersOf(point);
  const one = <T>(of: readonly T[], salt: string): T =>
    of[numberOf(`${seed} ${point.name} ${broker}${salt}`) % of.length]!;
  const over = wanted === 'any' ? [one(own, '')] : own.filter((route) => wanted.includes(route));
  const by =
    kinds === 'any' ? [one(able, ' handler')] : handlers.filter((kind) => able.includes(kind) && kinds.includes(kind));
  return over.flatMap((route) => by.map((handler) => ({ route, handler })));
}

/** The same for the same text, and spread (FNV-1a). */
function numberOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  return (hash ^ (hash >>> 15)) >>> 0;
}
