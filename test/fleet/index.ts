import { ensureInstalled } from './install.ts';
import { startNative } from './native.ts';
import type { Recipe } from './recipe.ts';
import { kafka } from './recipes/kafka.ts';
import { mariadb } from './recipes/mariadb.ts';
import { postgres } from './recipes/postgres.ts';
import { rabbitmq } from './recipes/rabbitmq.ts';
import { redis } from './recipes/redis.ts';
import { type Kind, kinds, releaseOf, urlVariable } from './releases.ts';
import type { Server, ServerOptions } from './server.ts';

export { type Kind, kinds, urlVariable } from './releases.ts';
export type { Server, ServerOptions } from './server.ts';

const recipes: Readonly<Record<Kind, Recipe>> = { rabbitmq, kafka, redis, postgres, mariadb };

/**
 * Gives a real broker or database: the one that the environment names (HOLDFAST_REDIS_URL and the like), or else one
 * of our own, started on free ports of 127.0.0.1 with a data folder of its own.
 *
 * A server of our own is stopped by `stop()` and, at the latest, when this process ends in whatever way.
 */
export async function startServer(kind: Kind, options: ServerOptions = {}): Promise<Server> {
  if (!kinds.includes(kind)) throw new TypeError(`the fleet has no "${kind}"; it has ${kinds.join(', ')}`);
  const url = process.env[urlVariable(kind)];
  if (url && !options.own) return serverOfTheEnvironment(kind, url);
  const installed = await ensureInstalled(releaseOf(kind, options.version));
  return await startNative(kind, recipes[kind], installed, options);
}

function serverOfTheEnvironment(kind: Kind, url: string): Server {
  const refuse = (verb: string) => async () => {
    const remedy = `start one of our own by startServer('${kind}', { own: true })`;
    throw new Error(`cannot ${verb} the ${kind} server of ${urlVariable(kind)}: it is not ours; ${remedy}`);
  };
  const managementUrl = kind === 'rabbitmq' ? process.env.HOLDFAST_RABBITMQ_MANAGEMENT_URL : undefined;
  return {
    kind,
    url,
    ...(managementUrl && { managementUrl }),
    version: 'unknown',
    owned: false,
    pid: undefined,
    kill: refuse('kill'),
    restart: refuse('restart'),
    pause: refuse('pause'),
    resume: refuse('resume'),
    stop: async () => {},
  };
}
