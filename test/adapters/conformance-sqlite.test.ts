import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, it } from 'vitest';
import { sqlite } from '../../adapters/sqlite/index.ts';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile } from './conformance-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'));
const path = join(folder, 'broker.db');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

brokerSuite({
  name: 'sqlite',
  it: it.concurrent,
  capabilities: expected.sqlite,
  adapter: () => sqlite({ path }),
  clock: 'machine',
  child: { url: `sqlite:${path}` },
  inbox: inboxInFile,
});
