import { describe, expect, it } from 'vitest';
import { fromAdapter, messageOf, redact } from '../../src/errors.ts';
import { errorCodes, HoldfastError, isHoldfastError } from '../../src/index.ts';

describe('HoldfastError', () => {
  it('takes what a code means from the table', () => {
    for (const [code, { retryable, outcome }] of Object.entries(errorCodes)) {
      expect(new HoldfastError(code as keyof typeof errorCodes, 'text')).toMatchObject({ code, retryable, outcome });
    }
  });

  it('is known by its brand, also when it is of another copy of the package', () => {
    expect(isHoldfastError(new HoldfastError('busy', 'text'))).toBe(true);
    expect(isHoldfastError({ [Symbol.for('holdfast.error')]: true })).toBe(true);
    expect(isHoldfastError(new Error('text'))).toBe(false);
    expect(isHoldfastError(null)).toBe(false);
  });

  it('wraps an adapter’s error once, with its code, its cause and without its passwords', () => {
    const cause = Object.assign(new Error('no amqp://shop:secret@host/ there'), { adapterCode: 'broker-unreachable' });
    const error = fromAdapter(cause, 'connect to rabbitmq');
    expect(error).toMatchObject({ code: 'broker-unreachable', cause, retryable: true });
    expect(error.message).toBe('Could not connect to rabbitmq: no amqp://***@host/ there');
    expect(fromAdapter(error, 'connect again')).toBe(error);
    expect(fromAdapter(Object.assign(new Error('x'), { adapterCode: 'toString' }), 'do it').code).toBe(
      'adapter-failed',
    );
  });

  it.each([
    ['redis://:p%40ss@h:6379', 'redis://***@h:6379'],
    ['a kafka://u:p@h1,h2 and amqps://x:y@z/v', 'a kafka://***@h1,h2 and amqps://***@z/v'],
    ['http://host/path', 'http://host/path'],
    ['mail me@example.org', 'mail me@example.org'],
  ])('redacts %s', (text, redacted) => {
    expect(redact(text)).toBe(redacted);
  });

  it.each([
    [new Error('text'), 'text'],
    [new RangeError(), 'RangeError'],
    ['text', 'text'],
    [{ message: 'text' }, 'text'],
    [undefined, 'undefined'],
  ])('has words for whatever was thrown: %o', (thrown, words) => {
    expect(messageOf(thrown)).toBe(words);
  });
});
