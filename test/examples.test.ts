import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const folder = join(import.meta.dirname, '../examples');
const examples = readdirSync(folder).filter((name) => /^\d\d-.*\.ts$/.test(name));

describe('examples', () => {
  it('are numbered from 01 without a gap', () => {
    expect(examples.map((name) => Number(name.slice(0, 2)))).toEqual(examples.map((_, index) => index + 1));
    expect(examples.length).toBeGreaterThanOrEqual(7);
  });

  for (const name of examples) {
    it(`${name} is at most 60 lines and prints what it says`, () => {
      const source = readFileSync(join(folder, name), 'utf8');
      const lines = source.trimEnd().split('\n');
      expect(lines.length).toBeLessThanOrEqual(60);
      const promised = /^\/\/ prints: (.*)$/.exec(lines.at(-1) ?? '')?.[1];
      expect(promised, 'the last line says what it prints').toBeDefined();
      const { status, stdout, stderr } = spawnSync(process.execPath, ['-C', 'source', join(folder, name)], {
        encoding: 'utf8',
      });
      expect(stderr).toBe('');
      expect(stdout.trimEnd()).toBe(promised);
      expect(status).toBe(0);
    });
  }
});
