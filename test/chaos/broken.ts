/** Loaded before anything else of a process whose build is broken by a line of the product: puts that line in. */

import { registerHooks } from 'node:module';
import type { Job } from './child.ts';
import { patched, sabotageOf } from './sabotage.ts';

const { setup } = JSON.parse(process.argv[2] ?? '') as Job;
const { patch } = sabotageOf(setup.sabotage);

if (patch !== undefined)
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      return url.endsWith(`/${patch.file}`) ? { ...loaded, source: patched(String(loaded.source), patch) } : loaded;
    },
  });
