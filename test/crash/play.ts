/** A whole life of a process: it publishes, consumes, and tends the dead letters, until all is done or its death comes. */

import { connect } from '../../src/connect.ts';
import { adapterOf, type Case, type Death, type Life, lives } from './case.ts';
import { consumeAll } from './consume.ts';
import { openLedger, readLedgers } from './ledger.ts';
import { topicOf } from './messages.ts';
import { operate } from './operate.ts';
import { publishAll, underWeather, type Weather } from './publish.ts';
import { noteIn, openStores } from './stores.ts';

export async function play(what: Case, life: Life, death: Death | undefined): Promise<void> {
  const { folder, route, workload } = what;
  const ledger = openLedger(folder, life);
  const earlier = readLedgers(folder, lives);
  const weather: Weather = { away: false };
  const handled = new Set(earlier.flatMap((entry) => (entry.event === 'handled' ? [`${entry.group} ${entry.n}`] : [])));
  let times = 0;
  /** SIGKILL, which no code of ours can soften. */
  function crashPoint(name: string): void {
    if (name !== death?.point) return;
    times += 1;
    if (times !== death.nth) return;
    ledger.write({ event: 'killed', point: name });
    process.kill(process.pid, 'SIGKILL');
  }
  const stores = await openStores(what, crashPoint);
  const client = await connect({
    adapter: underWeather(await adapterOf(what), weather),
    source: 'crash',
    crashPoint,
    ...(route === 'spill' && { spill: { store: stores.spill, spillAfterMs: 50 } }),
  });
  client.on('error', ({ during, error }) => ledger.write({ event: 'error', text: `${during}: ${String(error)}` }));
  const topic = topicOf(what.topic, workload);
  const mended = noteIn(folder, 'mended');
  const common = { client, topic, stores, ledger, mended, folder };
  const accepted = new Set(earlier.flatMap((entry) => (entry.event === 'accepted' ? [entry.n] : [])));
  try {
    await consumeAll({ ...common, handled: (group, n) => handled.add(`${group} ${n}`) }, what);
    await publishAll({ ...common, accepted, crashPoint, weather, delayed: workload === 'delay' }, route);
    await operate({ ...common, has: (group, n) => handled.has(`${group} ${n}`) }, workload);
  } finally {
    await client.close();
    await stores.close();
    ledger.close();
  }
}
