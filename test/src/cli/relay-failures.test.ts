import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');

it('a relay whose store cannot be opened closes its client, says why and ends with 1', async () => {
  const ended = await new Promise((resolve) => {
    const args = ['src/cli/main.ts', 'relay', '--config', 'test/src/cli/broken-store.config.ts'];
    const env = { ...process.env, HOLDFAST_ENV: 'development' };
    execFile(process.execPath, args, { cwd: root, env, timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: error?.code, stdout, stderr }),
    );
  });
  expect(ended).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('closed'),
    stderr: expect.stringContaining('the database is away'),
  });
});
