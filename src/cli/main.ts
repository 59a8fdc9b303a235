#!/usr/bin/env node
/** `holdfast <command>`: one file per command. Exit codes: 0 done, 1 failed, 2 called wrongly. */

import { isHoldfastError, messageOf, redact } from '../errors.ts';
import { nearest } from '../options.ts';
import { type Command, UsageError } from './command.ts';
import { relayCommand } from './relay.ts';

const COMMANDS: Readonly<Record<string, Command>> = { relay: relayCommand };

function help(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return [
    'Usage: holdfast <command> [options]',
    '',
    ...lines,
    '',
    "holdfast <command> --help shows a command's options.",
  ].join('\n');
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === 'help') {
    console.log(help());
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    console.error(
      `holdfast: there is no command "${name}"${near === undefined ? '' : `; did you mean "${near}"?`}\n\n${help()}`,
    );
    return 2;
  }
  if (args.includes('--help')) {
    console.log(command.usage);
    return 0;
  }
  try {
    return await command.run(args);
  } catch (error) {
    console.error(`holdfast ${name}: ${redact(messageOf(error))}`);
    if (error instanceof UsageError) {
      console.error(`\n${command.usage}`);
      return 2;
    }
    // Our own errors say what to do; for others, the stack says where.
    if (!isHoldfastError(error) && !(error instanceof TypeError) && error instanceof Error)
      console.error(redact(error.stack ?? ''));
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
// A pool that the config opened is not ours to close, and must not keep the process from ending.
setTimeout(() => process.exit(), 500).unref();
