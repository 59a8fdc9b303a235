import { describe, expect, it } from 'vitest';
import { readArguments } from './args.ts';
import { faultsOf, planOf, WINDOW_MS } from './plan.ts';

describe('the schedule of faults', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(planOf(4711, 10)).toEqual(planOf(4711, 10));
    expect(planOf(4712, 10)).not.toEqual(planOf(4711, 10));
  });

  it('begins with the kill of a consumer and the broker, and is calm in a quarter of its windows', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const plan = planOf(seed, 8);
      expect(plan).toHaveLength((8 * 60_000) / WINDOW_MS);
      expect(plan[0]!.slice(0, 2)).toMatchObject([
        { kind: 'kill', target: 'consumer' },
        { kind: 'kill', target: 'broker' },
      ]);
      expect(plan.filter((faults) => faults.length === 0)).toHaveLength(plan.length / 4);
    }
  });

  it('strikes a target once per window, so that each fault finds a live one', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      for (const faults of planOf(seed, 10)) {
        expect(new Set(faults.map(({ target }) => target)).size).toBe(faults.length);
        for (const { lastsMs } of faults) expect(lastsMs).toBeLessThanOrEqual(15_000);
      }
    }
  });

  it('has every kind of fault on every target within ten minutes', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const kinds = new Set(faultsOf(planOf(seed, 10)).map(({ kind, target }) => `${kind} ${target}`));
      expect(kinds.size).toBe(26);
    }
  });
});

describe('the command line', () => {
  it.each([
    [['--broker', 'sqs'], /--broker takes rabbitmq, kafka, redis; received "sqs"/],
    [['--seed', '1e99'], /--seed takes a whole number from 1/],
    [['--minutes', '0.5'], /--minutes takes a whole number from 1 .*a shorter run proves nothing/],
    [['--sabotage', 'sleep'], /--sabotage takes ack-before-handle/],
    [['--scenario', 'sunshine'], /--scenario takes deaths, rebalances, early; received "sunshine"/],
    [['--sabotage', 'no-inbox', '--minutes', '3'], /--minutes is left out where --sabotage says it/],
    [['--sabotage', 'no-inbox', '--scenario', 'early'], /--scenario is left out where --sabotage says it/],
    [['--forever'], /--forever/],
  ])('says what is wrong with %j', (words, problem) => {
    expect(() => readArguments(words)).toThrow(problem);
  });
});
