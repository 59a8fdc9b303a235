import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CommandOptions {
  /** How often to try, for commands that download. @default 1 */
  readonly attempts?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command to its end and returns what it printed; throws with the last lines of it when it fails. */
export async function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const attempts = options.attempts ?? 1;
  for (let attempt = 1; ; attempt++) {
    const { code, output } = await once(command, args, options.env);
    if (code === 0) return output;
    if (attempt >= attempts) {
      const tries = attempts > 1 ? ` (${attempts} attempts)` : '';
      const tail = output.trim().split('\n').slice(-15).join('\n');
      throw new Error(`"${command} ${args.join(' ')}" ended with ${code}${tries}; its last lines:\n${tail}`);
    }
    await sleep(attempt * 2000);
  }
}

/** Whether a command of this name is on the PATH. */
export function hasCommand(name: string): boolean {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => existsSync(join(folder, name)));
}

function once(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | string; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => resolve({ code: error.message, output }));
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 'no exit code', output }));
  });
}
