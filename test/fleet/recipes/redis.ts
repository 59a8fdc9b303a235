import { answers } from '../probe.ts';
import { lines, type Recipe } from '../recipe.ts';

export const redis: Recipe = {
  ports: 1,
  user: 'redis',
  stopSignal: 'SIGTERM',
  launch: ({ data, ports: [port], config }) => {
    // `sentinel monitor` and the like: a Sentinel, which has no data of its own.
    const isSentinel = Object.keys(config).some((name) => name.startsWith('sentinel '));
    const settings = {
      bind: '127.0.0.1',
      port: String(port),
      dir: data,
      ...(isSentinel ? {} : { appendonly: 'yes', appendfsync: 'always', save: '""' }),
      ...config,
    };
    return {
      url: `redis://127.0.0.1:${port}`,
      files: { 'redis.conf': lines(settings, ' ') },
      script: `exec redis-server redis.conf${isSentinel ? ' --sentinel' : ''}`,
      // While the append-only file is read back, the answer is -LOADING.
      isReady: () => answers(port!, 'PING\r\n', (answer) => answer.toString().startsWith('+PONG')),
    };
  },
};
