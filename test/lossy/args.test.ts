import { describe, expect, it } from 'vitest';
import { readArguments } from './args.ts';
import { settingNames } from './settings.ts';

describe('the command line of npm run lossy', () => {
  it('takes all settings, five failures and any seed unless it is told otherwise', () => {
    expect(readArguments([])).toMatchObject({ settings: settingNames, rounds: 5, keep: false });
    expect(readArguments(['--setting', 'postgres-async,redis-no-aof', '--rounds', '2', '--seed', '7'])).toEqual({
      settings: ['postgres-async', 'redis-no-aof'],
      rounds: 2,
      seed: 7,
      keep: false,
    });
  });

  it.each([
    [['--setting', 'redis'], /--setting knows no "redis"; it knows redis-no-aof/],
    [['--setting', ''], /--setting knows no ""/],
    [['--rounds', '0'], /--rounds takes a whole number from 1 to 1000; received "0"/],
    [['--rounds', '2.5'], /received "2.5"/],
    [['--seed', '-1'], /--seed/],
    [['--seed', '0x10'], /received "0x10"/],
    [['--minutes', '1'], /--minutes/],
    [['redis'], /redis/],
  ])('refuses %j', (words, message) => {
    expect(() => readArguments(words)).toThrow(TypeError);
    expect(() => readArguments(words)).toThrow(message);
  });
});
