import { connect } from 'node:net';

/** Connects to a local port, sends `request` and tells whether the answer satisfies `expected`. */
export function answers(
  port: number,
  request: string | Buffer,
  expected: (answer: Buffer) => boolean,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 2000 });
    const settle = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.on('connect', () => socket.write(request));
    socket.on('data', (answer) => settle(expected(answer)));
    socket.on('error', () => settle(false));
    socket.on('timeout', () => settle(false));
    socket.on('close', () => settle(false));
  });
}
