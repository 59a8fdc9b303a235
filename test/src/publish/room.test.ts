import { expect, it } from 'vitest';
import { createRoom } from '../../../src/publish/room.ts';

function roomWith(buffer: { readonly messages: number; readonly bytes: number }) {
  const room = createRoom(buffer);
  const entered: string[] = [];
  const gone = new Set<string>();
  const enter = (name: string, bytes: number): void =>
    room.enter({ bytes, gone: () => gone.has(name), go: () => void entered.push(name) });
  return { room, entered, gone, enter };
}

it('is bounded in bytes as well as in messages; who comes later waits behind who does not fit', () => {
  const { room, entered, enter } = roomWith({ messages: 3, bytes: 100 });
  enter('a', 60);
  enter('b', 50);
  enter('c', 1);
  expect(entered).toEqual(['a']);
  room.leave(60);
  expect(entered).toEqual(['a', 'b', 'c']);
  enter('d', 1);
  enter('e', 1);
  expect(entered).toEqual(['a', 'b', 'c', 'd']);
});

it('takes one that is larger than all of it, when it is empty: else it could never be sent', () => {
  const { room, entered, enter } = roomWith({ messages: 3, bytes: 100 });
  enter('a', 1);
  enter('huge', 1_000);
  expect(entered).toEqual(['a']);
  room.leave(1);
  enter('b', 1);
  expect(entered).toEqual(['a', 'huge']);
  room.leave(1_000);
  expect(entered).toEqual(['a', 'huge', 'b']);
});

it('passes over who has gone, and keeps no room for them', () => {
  const { room, entered, gone, enter } = roomWith({ messages: 1, bytes: 100 });
  for (const name of ['a', 'b', 'c']) enter(name, 1);
  gone.add('b');
  room.leave(1);
  expect(entered).toEqual(['a', 'c']);
});
