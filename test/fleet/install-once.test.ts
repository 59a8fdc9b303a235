import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { installedVersion, installOnce, isInstalled } from './install-once.ts';

let cache: string;

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'holdfast-install-'));
});

afterEach(() => rmSync(cache, { recursive: true }));

it('builds once for all who ask at the same time', async () => {
  let builds = 0;
  const build = async (folder: string) => {
    builds++;
    await writeFile(join(folder, 'server'), '');
    return '1.2.3';
  };
  const folder = join(cache, 'server-1');
  await Promise.all([1, 2, 3].map(() => installOnce(folder, build)));
  expect(builds).toBe(1);
  expect(installedVersion(folder)).toBe('1.2.3');
  expect(readdirSync(folder).sort()).toEqual(['.ready', 'server']);
});

it('a build that fails leaves nothing that could be taken for an install', async () => {
  const folder = join(cache, 'server-1');
  const failing = async (building: string) => {
    await writeFile(join(building, 'half'), '');
    throw new Error('no network');
  };
  await expect(installOnce(folder, failing)).rejects.toThrow('no network');
  expect(isInstalled(folder)).toBe(false);
  await installOnce(folder, async () => '1');
  expect(readdirSync(folder)).toEqual(['.ready']);
  expect(readdirSync(cache).filter((name) => !name.endsWith('.lock'))).toEqual(['server-1']);
});

it('does not wait for a builder that was killed, and removes what it left', { timeout: 30_000 }, async () => {
  const folder = join(cache, 'server-1');
  const script = `
    const { installOnce } = await import(${JSON.stringify(new URL('install-once.ts', import.meta.url).href)});
    await installOnce(${JSON.stringify(folder)}, async () => {
      console.log('building');
      await new Promise((resolve) => setInterval(() => {}, 1000));
    });`;
  const builder = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(builder.stdout, 'data');
  const left = join(cache, `.server-1.${builder.pid}`);
  expect(existsSync(left)).toBe(true);

  const installing = installOnce(folder, async () => '2');
  builder.kill('SIGKILL');
  await installing;
  expect(installedVersion(folder)).toBe('2');
  expect(existsSync(left)).toBe(false);
});

it('replaces a folder that was never completed', async () => {
  const folder = join(cache, 'server-1');
  await mkdir(folder);
  await writeFile(join(folder, 'half'), '');
  await installOnce(folder, async () => '1');
  expect(readdirSync(folder)).toEqual(['.ready']);
});
