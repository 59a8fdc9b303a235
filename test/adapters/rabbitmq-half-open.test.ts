import diagnostics from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { startProxy } from '../fleet/proxy.ts';
import { closeAll, open, rabbitmqUrl, until } from './rabbitmq-fixture.ts';

afterEach(closeAll);

it('leaves no socket behind where a connection has died without a word: it would keep the process', async () => {
  const proxy = await startProxy({ target: rabbitmqUrl() });
  const sockets: Socket[] = [];
  const opened = (message: unknown): void => void sockets.push((message as { readonly socket: Socket }).socket);
  diagnostics.subscribe('net.client.socket', opened);
  try {
    const { adapter, events } = await open({ url: proxy.url, heartbeatSeconds: 1 });
    const dead = sockets.filter(({ remotePort }) => remotePort === proxy.port);
    expect(dead).toHaveLength(2);
    proxy.halfOpen('both');
    await until(() => events.filter(({ type }) => type === 'connected').length === 4);
    await adapter.close();
    await until(() => dead.every(({ destroyed }) => destroyed));
  } finally {
    diagnostics.unsubscribe('net.client.socket', opened);
    await proxy.stop();
  }
});
