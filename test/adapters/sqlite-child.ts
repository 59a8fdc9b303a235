/** A process of its own for sqlite-processes.test.ts: does what its first argument says and reports by messages. */
import { DatabaseSync } from 'node:sqlite';
import { sqlite } from '../../adapters/sqlite/index.ts';
import type { Topology } from '../../src/port.ts';
import { consume, hooksOf, outgoing, publish, textOf, until } from './port-harness.ts';

export type Task =
  | {
      readonly kind: 'publish';
      readonly path: string;
      readonly topology: Topology;
      readonly name: string;
      readonly batches: number;
    }
  /** Settles what it gets, or (`hold`) keeps it until it is revoked, then tries to settle it. */
  | {
      readonly kind: 'consume';
      readonly path: string;
      readonly topology: Topology;
      readonly hold: boolean;
      readonly leaseMs: number;
    }
  /** Takes the write lock until it gets a message. */
  | { readonly kind: 'lock'; readonly path: string };

export type Report = { readonly texts: readonly string[] } | { readonly outcomes: readonly string[] } | 'locked';

const BATCH = 50;
const task = JSON.parse(process.argv[2]!) as Task;
const report = (message: Report): void => void process.send!(message);

if (task.kind === 'lock') {
  const db = new DatabaseSync(task.path);
  db.exec('BEGIN IMMEDIATE');
  report('locked');
  process.once('message', () => {
    db.exec('COMMIT');
    db.close();
    process.disconnect();
  });
} else {
  const adapter = sqlite({ path: task.path, pollMs: 5 });
  await adapter.connect(hooksOf());
  await adapter.declare(task.topology);
  if (task.kind === 'publish') {
    const outcomes: string[] = [];
    for (let batch = 0; batch < task.batches; batch += 1) {
      const messages = Array.from({ length: BATCH }, (_, n) =>
        outgoing(task.topology, `${task.name}-${batch * BATCH + n}`),
      );
      for (const outcome of await publish(adapter, messages)) {
        outcomes.push('error' in outcome ? `${outcome.kind}: ${String(outcome.error)}` : outcome.kind);
      }
    }
    report({ outcomes });
    await adapter.close();
    process.disconnect();
  } else {
    const inbox = await consume(adapter, task.topology, {
      prefetch: 4,
      leaseMs: task.leaseMs,
      onBatch(batch, source) {
        report({ texts: batch.map(textOf) });
        if (!task.hold) setImmediate(() => void source().settle(batch.map((delivery) => ({ kind: 'done', delivery }))));
      },
    });
    process.on('disconnect', () => process.exit());
    await until('something is revoked', () => inbox.revoked.length > 0, 60_000);
    report({ outcomes: ['revoked', ...(await inbox.settle('done', ...inbox.deliveries))] });
  }
}
