import { expect, it } from 'vitest';
import { identityOf } from '../../src/message.ts';

it.each([
  ['a/b', 'c', 'a', 'b/c'],
  ['a%2Fb', 'c', 'a/b', 'c'],
  ['', '/c', '/', 'c'],
])('S12: source %j with id %j is not source %j with id %j', (source, id, otherSource, otherId) => {
  const one = identityOf({ source, id, dedupeKey: undefined });
  expect(one).not.toBe(identityOf({ source: otherSource, id: otherId, dedupeKey: undefined }));
});
