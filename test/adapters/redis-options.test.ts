import { describe, expect, it } from 'vitest';
import { toFields } from '../../adapters/redis/headers.ts';
import { redis } from '../../adapters/redis/index.ts';
import { pack } from '../../adapters/redis/pack.ts';
import { outgoing, topologyOf } from './port-harness.ts';

const make = (options: unknown) => () => redis(options as { url: string });

describe('redis: options', () => {
  it('names the wrong key, what it received and what it wanted', () => {
    expect(make({})).toThrow('redis needs `url` (or `sentinels`)');
    expect(make(undefined)).toThrow(TypeError);
    expect(make({ url: 'redis://h', commandTimeout: 3 })).toThrow(
      /unknown key `commandTimeout`; did you mean `commandTimeoutMs`/,
    );
    expect(make({ url: 'redis://h', dedupeWindowMs: '5' })).toThrow(
      /`dedupeWindowMs` must be a whole number .*received "5"/,
    );
    expect(make({ url: 'redis://h', prefix: 'a{b' })).toThrow(/`prefix`/);
    expect(make({ url: 'redis://h', db: -1 })).toThrow(/`db`/);
    expect(make({ url: 'redis://h', tls: 'yes' })).toThrow(/`tls`/);
    expect(make({ url: 'redis://h', durability: { waitAOF: true } })).toThrow(
      /unknown key `waitAOF`; did you mean `waitAof`/,
    );
    expect(make({ url: 'redis://h', durability: { replicas: 1, timeoutMs: 5_000 } })).toThrow(/durability.timeoutMs/);
    expect(make({ sentinels: { name: 'm', nodes: ['h:1:2'] } })).toThrow(/sentinels.nodes/);
    expect(make({ url: [] })).toThrow(TypeError);
  });

  it('never shows a password that it does not understand', () => {
    for (const url of ['amqp://u:s3cret@h', 'redis//:s3cret@h', 'redis://:s3cret@h/x'])
      try {
        redis({ url });
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        expect(String(error)).not.toContain('s3cret');
      }
  });

  it('accepts several addresses, TLS and Sentinels', () => {
    expect(redis({ url: ['redis://a:1/2', 'rediss://u:p@b'], prefix: 'shop' }).name).toBe('redis');
    expect(redis({ sentinels: { name: 'main', nodes: ['a:26379', '[::1]:26380', 'b'] }, password: 'x' }).name).toBe(
      'redis',
    );
    expect(redis({ url: 'redis://a', durability: { waitAof: true, replicas: 1 } }).capabilities.durability).toBe(
      'disk',
    );
    expect(redis({ url: 'redis://a', durability: { replicas: 1 } }).capabilities.durability).toBe('memory');
    expect(redis({ url: 'redis://a' }).capabilities.durability).toBe('disk');
  });
});

describe('redis: packing', () => {
  it('writes a lean entry: fields only for what is set', () => {
    const fields = toFields(outgoing(topologyOf(), 'x'));
    expect(fields.filter((_, index) => index % 2 === 0)).toEqual(['id', 'source', 'time', 'content-type', 'body']);
  });

  it('packs strings, numbers, bytes and lists, growing as needed', () => {
    expect([...pack(['é', 5, new Uint8Array([7]), []], 1)]).toEqual([
      0xdd, 0, 0, 0, 4, 0xdb, 0, 0, 0, 2, 0xc3, 0xa9, 0xcf, 0, 0, 0, 0, 0, 0, 0, 5, 0xdb, 0, 0, 0, 1, 7, 0xdd, 0, 0, 0,
      0,
    ]);
  });
});
