// npm run test:older                      the brokers' tests, conformance suites and traps on each other release of them
// npm run test:older -- rabbitmq@3.10     on this one alone
//
// One after the other. What it found is kept in docs/older-brokers.md. The last lines are one per release.

import { spawn } from 'node:child_process';
import { join } from 'node:path';

const others = ['rabbitmq@3.10', 'rabbitmq@unstable', 'redis@7'] as const;

const given = process.argv.slice(2);
const summaries: string[] = [];
for (const release of given.length > 0 ? given : others) {
  const { exitCode, lines } = await run(release);
  const version = lines.find((line) => /^[a-z]+ \d+\./.test(line)) ?? release;
  summaries.push(`${release} (${version}): ${lines.at(-1) ?? 'nothing ran'}`);
  if (exitCode !== 0) process.exitCode = 1;
}
process.stdout.write(`\n${summaries.join('\n')}\n`);

async function run(release: string): Promise<{ readonly exitCode: number; readonly lines: readonly string[] }> {
  const args = ['-C', 'source', join(import.meta.dirname, 'run.ts'), '--release', release];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
    process.stdout.write(data);
  });
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  return { exitCode, lines: text.split('\n').filter((line) => line !== '') };
}
