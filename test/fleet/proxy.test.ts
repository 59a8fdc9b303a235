import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../conformance/until.ts';
import { type FaultProxy, startProxy } from './proxy.ts';

/** The two ends of one connection through the proxy, and what each has received. */
interface Ends {
  readonly client: Peer;
  readonly server: Peer;
}
interface Peer {
  readonly socket: Socket;
  text(): string;
  readonly chunks: string[];
  /** How it ended, as this side saw it. */
  readonly ended: string[];
}

describe('the fault proxy', () => {
  let listener: Server;
  let proxy: FaultProxy;
  const arrivals: Peer[] = [];
  const sockets: Socket[] = [];

  beforeEach(async () => {
    listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => arrivals.push(peer(socket)));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    proxy = await startProxy({ target: `amqp://user:secret@127.0.0.1:${portOf(listener)}/vhost?a=1` });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    arrivals.length = 0;
    await proxy.stop();
    listener.close();
  });

  it('passes bytes both ways, and has the URL of its target but for the address', async () => {
    const { client, server } = await open();
    await exchange({ client, server });
    expect(proxy.url).toBe(`amqp://user:secret@127.0.0.1:${proxy.port}/vhost?a=1`);
    expect(proxy.connections()).toEqual({ open: 1, accepted: 1, swallowed: 0 });
    const plain = await startProxy({ target: `127.0.0.1:${portOf(listener)}` });
    expect(plain.url).toBe(`127.0.0.1:${plain.port}`);
    await plain.stop();
    await expect(startProxy({ target: 'redis://somewhere' })).rejects.toThrow('a target with a port');
  });

  it('passes megabytes unchanged, also where the reader is slow', async () => {
    const { client, server } = await open();
    const sent = Buffer.alloc(8 * 1024 * 1024, 'holdfast');
    server.socket.pause();
    client.socket.end(sent);
    await until('the writer feels it', () => client.socket.writableLength > 0);
    server.socket.resume();
    await until('all arrived', () => server.ended.includes('end'));
    expect(Buffer.from(server.text()).equals(sent)).toBe(true);
  });

  it('passes a half-close on as one: the other direction still works', async () => {
    const { client, server } = await open();
    client.socket.end('last words');
    await until('the server has heard them', () => server.ended.includes('end'));
    server.socket.end('answer');
    await until('the client has the answer', () => client.ended.includes('close'));
    expect(client.text()).toBe('answer');
    await until('nothing is left', () => proxy.connections().open === 0);
  });

  it('passes a reset on, and resets the clients of a server that is not there', async () => {
    const { client, server } = await open();
    server.socket.resetAndDestroy();
    await until('the client is reset', () => client.ended.includes('ECONNRESET'));
    listener.close();
    const late = peer(connect(proxy.port, '127.0.0.1'));
    await until('the late one is reset', () => late.ended.includes('ECONNRESET'));
  });

  it('cut: both sides see a FIN, and new connections work', async () => {
    const { client, server } = await open();
    proxy.cut();
    await until('both have ended', () => client.ended.includes('end') && server.ended.includes('end'));
    expect([...client.ended, ...server.ended]).not.toContain('ECONNRESET');
    await exchange(await open());
  });

  it('reset: both sides see an RST, and new connections work', async () => {
    const { client, server } = await open();
    proxy.reset();
    await until('both are reset', () => client.ended.includes('ECONNRESET') && server.ended.includes('ECONNRESET'));
    await exchange(await open());
  });

  it('halfOpen: a direction is lost without a FIN, for good; the other and new connections work', async () => {
    const { client, server } = await open();
    proxy.halfOpen('up');
    client.socket.end('lost');
    server.socket.write('heard');
    await until('the client hears', () => client.text() === 'heard');
    proxy.heal();
    await exchange(await open());
    expect([server.text(), server.ended]).toEqual(['', []]);

    const other = await open();
    proxy.halfOpen('both');
    other.client.socket.resetAndDestroy();
    await exchange(await open());
    expect(other.server.ended).toEqual([]);
  });

  it('blackHole: old and new connections are open and silent; heal delivers what was sent, in order', async () => {
    const { client, server } = await open();
    proxy.blackHole();
    client.socket.write('a');
    client.socket.end('b');
    const late = peer(connect(proxy.port, '127.0.0.1'));
    late.socket.write('c');
    await until('the late one is accepted', () => proxy.connections().accepted === 2);
    await until('its server side is there', () => arrivals.length === 2);
    expect(arrivals.map((each) => [each.text(), each.ended])).toEqual([
      ['', []],
      ['', []],
    ]);
    proxy.heal();
    await until('all arrived', () => server.ended.includes('end') && arrivals[1]!.text() === 'c');
    expect(server.text()).toBe('ab');
  });

  it('swallow: the server gets the request, its reply is lost, and other connections go on', async () => {
    const [one, other] = [await open(), await open()];
    proxy.swallow((sent) => sent.includes('order 7'));
    await exchange(one);
    one.client.socket.write('order 7');
    await until('the server has it', () => one.server.text().endsWith('order 7'));
    one.server.socket.write('confirmed');
    await exchange(other);
    expect(proxy.connections().swallowed).toBe(1);
    proxy.heal();
    other.client.socket.write('order 7');
    await exchange(other);
    expect(one.client.text()).not.toContain('confirmed');
    expect(proxy.connections().swallowed).toBe(1);
  });

  it('breakOff: half of an answer arrives, then both ends are closed; new connections after heal work', async () => {
    const { client, server } = await open();
    await exchange({ client, server });
    const before = client.text().length;
    proxy.breakOff();
    server.socket.write('abcdefgh');
    await until('both are closed', () => client.ended.includes('end') && server.ended.includes('end'));
    expect(client.text().slice(before)).toBe('abcd');
    proxy.heal();
    await exchange(await open());
  });

  it('slice: arrives whole, in pieces', async () => {
    const { client, server } = await open();
    proxy.slice(1);
    client.socket.write('abcdefgh'.repeat(4));
    await until('all arrived', () => server.text() === 'abcdefgh'.repeat(4));
    expect(server.chunks.length).toBeGreaterThan(1);
  });

  it('delay and throttle: arrives whole and later; heal hurries what is under way', async () => {
    const { client, server } = await open();
    const startedAt = performance.now();
    proxy.delay(100, 50);
    client.socket.write('late');
    await until('it arrived', () => server.text() === 'late');
    expect(performance.now() - startedAt).toBeGreaterThan(95);

    proxy.heal();
    const throttledAt = performance.now();
    proxy.throttle(10_000);
    client.socket.write('x'.repeat(2_000));
    await until('all arrived', () => server.text().length === 2_004);
    expect(performance.now() - throttledAt).toBeGreaterThan(150);

    proxy.delay(3_600_000);
    client.socket.write('!');
    proxy.heal();
    await until('it arrived', () => server.text().endsWith('!'));
  });

  async function open(): Promise<Ends> {
    const before = arrivals.length;
    const client = peer(connect(proxy.port, '127.0.0.1'));
    await until('the server is connected', () => arrivals.length > before);
    return { client, server: arrivals[before]! };
  }

  /** The n-th round trip over a connection says something that was not said before. */
  async function exchange({ client, server }: Ends): Promise<void> {
    const word = `${Math.random()};`;
    client.socket.write(word);
    await until('the request arrived', () => server.text().endsWith(word));
    server.socket.write(word);
    await until('the reply arrived', () => client.text().endsWith(word));
  }

  function peer(socket: Socket): Peer {
    const chunks: string[] = [];
    const ended: string[] = [];
    sockets.push(socket);
    socket.on('data', (data) => chunks.push(data.toString()));
    socket.on('end', () => ended.push('end'));
    socket.on('close', () => ended.push('close'));
    socket.on('error', (error: NodeJS.ErrnoException) => ended.push(error.code ?? error.message));
    return { socket, chunks, ended, text: () => chunks.join('') };
  }
});

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}
