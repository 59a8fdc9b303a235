import { expect, it } from 'vitest';
import { createEmitter } from '../../src/events.ts';

it('a listener that throws is ignored, the others hear', () => {
  const emitter = createEmitter();
  const heard: string[] = [];
  emitter.on('warning', () => {
    throw new Error('a bug of the observer’s');
  });
  const off = emitter.on('warning', ({ code }) => heard.push(code));
  emitter.emit('warning', { code: 'one', detail: '' });
  off();
  emitter.emit('warning', { code: 'two', detail: '' });
  expect(heard).toEqual(['one']);
});

it('knows whether anybody listens', () => {
  const emitter = createEmitter();
  expect(emitter.listens('handled')).toBe(false);
  const off = emitter.on('handled', () => undefined);
  expect(emitter.listens('handled')).toBe(true);
  off();
  expect(emitter.listens('handled')).toBe(false);
});
