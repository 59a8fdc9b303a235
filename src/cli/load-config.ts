import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Config, isConfig } from '../config.ts';
import { HoldfastError, messageOf, redact } from '../errors.ts';

/** Imports a config file; TypeScript runs as it is, by Node's own type stripping. */
export async function loadConfig(path: string): Promise<Config> {
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new HoldfastError('config-invalid', `There is no config file ${path}: name one with --config`);
  }
  let loaded: { readonly default?: unknown };
  try {
    loaded = (await import(pathToFileURL(file).href)) as { readonly default?: unknown };
  } catch (error) {
    throw new HoldfastError('config-invalid', `${path} could not be loaded: ${redact(messageOf(error))}`, {
      cause: error,
    });
  }
  if (!isConfig(loaded.default)) {
    throw new HoldfastError(
      'config-invalid',
      `${path} must export defineConfig({ topics, environments }) as its default`,
    );
  }
  return loaded.default;
}
