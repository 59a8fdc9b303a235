import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXTRA, type Patch, patched, sabotageNames, sabotageOf, scenarioNameOf } from './sabotage.ts';
import { planOfScenario, scenarioNames, scenarioOf } from './scenario.ts';

const patches = sabotageNames
  .map((name) => sabotageOf(name).patch)
  .filter((patch): patch is Patch => patch !== undefined);
const root = join(import.meta.dirname, '../..');

describe('builds that are broken on purpose', () => {
  it('are the twelve of the list, and each is broken', () => {
    expect(sabotageNames.filter((name) => !EXTRA.includes(name))).toHaveLength(12);
    for (const name of sabotageNames) {
      const { adapter, inbox, outbox, patch } = sabotageOf(name);
      expect(
        [adapter, inbox, outbox, patch].filter((change) => change !== undefined),
        name,
      ).toHaveLength(1);
    }
  });

  it.each(patches)('the line of $file that one of them changes is still there, once', (patch) => {
    const text = readFileSync(join(root, patch.file), 'utf8');
    expect(patched(text, patch)).not.toBe(text);
    expect(() => patched(text + patch.find, patch)).toThrow(/exactly one/);
    expect(() => patched('', patch)).toThrow(/exactly one/);
  });

  it('have a scenario each, whose schedule is the same for the same seed', () => {
    expect(new Set(sabotageNames.map(scenarioNameOf))).toEqual(new Set(scenarioNames));
    for (const name of scenarioNames) {
      const scenario = scenarioOf(name);
      expect(planOfScenario(7, scenario)).toEqual(planOfScenario(7, scenario));
      for (const faults of planOfScenario(7, scenario))
        expect(new Set(faults.map(({ target }) => target)).size).toBe(faults.length);
    }
  });
});
