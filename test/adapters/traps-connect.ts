import { afterAll, afterEach, expect } from 'vitest';
import type { Client } from '../../src/client.ts';
import { connect as open } from '../../src/connect.ts';
import type { ConnectOptions } from '../../src/connect-options.ts';
import { deadlineWatch } from '../conformance/deadline-watch.ts';

const { watch, late, end } = deadlineWatch();
afterEach(() => expect(late, 'publishes without an outcome a second after their deadline').toEqual([]));
afterAll(end);

/** As `connect`; and in each test of the file that imports it, a publish without an outcome by its deadline is a failure. */
export async function connect(options: ConnectOptions): Promise<Client> {
  return watch(await open(options));
}
