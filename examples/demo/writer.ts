/** Writes the flights of its airports: a row of its own and the message about it, in one transaction each. */

import { partitionOf } from 'holdfast';
import { play } from './child.ts';
import { readFlights } from './flights.ts';
import { WRITERS } from './setup.ts';
import { openStore } from './stores.ts';
import { flightReported, idOf } from './topics.ts';

await play(async ({ setup, writer, ledger, stopped }) => {
  let stopping = false;
  void stopped.then(() => {
    stopping = true;
  });
  const flights = await readFlights(setup.records);
  const { store, run, close } = await openStore(setup);
  // An airport is one writer's alone, so its flights are written in the order of the file.
  for (const flight of flights.filter(({ origin }) => partitionOf(origin, WRITERS) === writer)) {
    if (stopping) break;
    const id = idOf(flight.seq);
    ledger.write({ event: 'begin', id });
    await store.outbox.transaction(async (tx) => {
      await run(tx, 'insert into flights (seq, origin, delay, distance) values (?, ?, ?, ?)', [
        flight.seq,
        flight.origin,
        flight.delay,
        flight.distance,
      ]);
      await store.outbox.add(tx, flightReported, flight, { id });
    });
    ledger.write({ event: 'accepted', id });
  }
  await close();
});
