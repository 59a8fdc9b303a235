import { expect, it } from 'vitest';
import { type MemoryAdapter, memory, memoryBroker } from '../../adapters/memory/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { brokerSuite, expected } from '../conformance/index.ts';
import { inboxInFile } from './conformance-fixture.ts';
import { type Sabotage, sabotages } from './conformance-sabotages.ts';
import { oneCase } from './one-case.ts';

/** What the one case with this in its title says of an adapter. */
async function verdict(title: string, sabotage: Sabotage): Promise<'passes' | 'found out'> {
  const broker = memoryBroker();
  const honest = new WeakMap<BrokerAdapter, MemoryAdapter>();
  const run = oneCase(title, (it) =>
    brokerSuite({
      name: 'sabotaged',
      it,
      capabilities: expected.memory,
      adapter() {
        const whole = memory({ broker });
        const sabotaged = { ...whole, ...sabotage(whole) };
        honest.set(sabotaged, whole);
        return sabotaged;
      },
      crash: (adapter) => honest.get(adapter)!.crash(),
      inbox: inboxInFile,
      patienceMs: 3_000,
    }),
  );
  return run().then(
    () => 'passes',
    () => 'found out',
  );
}

it.concurrent.for(sabotages)('an adapter that %s is found out by “%s…”', async ([, title, sabotage]) => {
  expect(await verdict(title, sabotage)).toBe('found out');
});

it('an honest adapter passes each of these cases', async () => {
  for (const [, title] of sabotages) expect([title, await verdict(title, () => ({}))]).toEqual([title, 'passes']);
});
