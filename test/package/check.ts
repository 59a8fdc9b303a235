/**
 * What a user would install: builds and packs, lints the tarball, checks its contents, installs it into an empty project,
 * compiles and runs the README's first program there, and the command line. Prints one line per check; exits 1 if any fails.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const work = mkdtempSync(join(tmpdir(), 'holdfast-package-'));
const bin = join(root, 'node_modules/.bin');
let failed = 0;

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${status}\n${stdout}\n${stderr}`);
  return stdout;
}

function check(promise: string, body: () => void): void {
  try {
    body();
    console.log(`ok     ${promise}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${promise}\n${(error as Error).message}`);
  }
}

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

let packed: Packed | undefined;
const consumer = join(work, 'consumer');

check('builds and packs', () => {
  run('npm', ['run', '--silent', 'build'], root);
  const out = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work], root)) as
    | readonly Packed[]
    | Record<string, Packed>;
  packed = Array.isArray(out) ? out[0] : Object.values(out)[0];
});
const tarball = (): string => join(work, packed!.filename);

check('the tarball holds the built library, its papers and nothing else', () => {
  const strangers = packed!.files
    .map(({ path }) => path)
    .filter(
      (path) =>
        !/^(dist\/(src|adapters|test\/conformance)\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(
          path,
        ),
    );
  if (strangers.length > 0) throw new Error(`unexpected files: ${strangers.join(', ')}`);
});
check('every subpath of the exports is in the tarball', () => {
  const { exports, bin: commands } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, string | Record<string, string>>;
    bin: Record<string, string>;
  };
  const paths = new Set(packed!.files.map(({ path }) => `./${path}`));
  const wanted = [
    ...Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : [entry.types!, entry.default!],
    ),
    ...Object.values(commands),
  ];
  const missing = wanted.filter((path) => !paths.has(path));
  if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
});
check('there are no install scripts', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const name of ['preinstall', 'install', 'postinstall'])
    if (name in scripts) throw new Error(`package.json has a ${name} script`);
});
check('publint finds nothing', () => void run(join(bin, 'publint'), ['run', tarball(), '--strict'], root));
check(
  'types resolve for ESM users (attw)',
  () => void run(join(bin, 'attw'), [tarball(), '--profile', 'esm-only'], root),
);

check('installs into an empty project', () => {
  mkdirSync(consumer);
  writeFileSync(join(consumer, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  const tools = ['typescript', '@types/node', 'zod'].map((name) => `${name}@${own.devDependencies[name]}`);
  run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', tarball(), ...tools], consumer);
});
check("the README's first program compiles and runs there", () => {
  const program = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
  if (program === undefined) throw new Error('README.md has no ts block');
  writeFileSync(join(consumer, 'program.ts'), program);
  writeFileSync(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { strict: true, module: 'nodenext', target: 'es2024', types: ['node'], noEmit: true },
      files: ['program.ts'],
    }),
  );
  run(join(consumer, 'node_modules/.bin/tsc'), ['-p', '.'], consumer);
  const printed = run(process.execPath, ['program.ts'], consumer);
  const promised = /\/\/ prints: (.*)/.exec(program)?.[1];
  if (promised === undefined || printed.trim() !== promised.trim())
    throw new Error(`it printed ${JSON.stringify(printed)}, not ${JSON.stringify(promised)}`);
});
check('a missing broker client is named with the command that installs it', () => {
  writeFileSync(
    join(consumer, 'missing.mjs'),
    "import { connect } from 'holdfast';\nawait connect('amqp://localhost').catch((error) => console.log(error.code, error.message));\n",
  );
  const printed = run(process.execPath, ['missing.mjs'], consumer);
  if (!printed.startsWith('missing-peer') || !printed.includes('npm install amqplib'))
    throw new Error(`it printed ${printed}`);
});
check('the command line runs from the package', () => {
  const printed = run(process.execPath, ['node_modules/holdfast/dist/src/cli/main.js', 'relay', '--help'], consumer);
  if (!printed.includes('--config')) throw new Error(`it printed ${printed}`);
});

rmSync(work, { recursive: true, force: true });
process.exitCode = failed === 0 ? 0 : 1;
