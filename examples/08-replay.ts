// Dead letters back to work: count them, list them page by page, send a canary ahead, go on with a run, and edit what
// would never succeed as it is.
import { connect, DeadLetter, defineTopic, type Letter } from 'holdfast';
import { memory } from 'holdfast/memory';

interface Parcel {
  readonly to: string;
}
const parcelSent = defineTopic<Parcel>('parcels.sent', { key: ({ to }) => to, groups: ['carrier'] });
const client = await connect({ adapter: memory() });

let carrierIsUp = false;
const delivered: string[] = [];
await client.consume(parcelSent, { group: 'carrier' }, ({ payload, headers }) => {
  if (payload.to === '') throw new DeadLetter('no address');
  if (!carrierIsUp) throw new DeadLetter('carrier down');
  delivered.push(headers['causation-id'] === undefined ? payload.to : `${payload.to} (was ${headers['causation-id']})`);
});
const letters = client.deadLetters(parcelSent, 'carrier');
const until = async (dead: number, done: number): Promise<void> => {
  while ((await letters.count()) !== dead || delivered.length !== done) await new Promise((go) => setTimeout(go, 5));
};
for (const to of ['ann', '', 'bob', 'cid']) await client.publish(parcelSent, { to }, { id: `parcel-${to || 'x'}` });
await until(4, 0);
const reasons = await letters.countBy('reason');

// Page by page: the cursor is text, and another process may go on with it.
const pages: number[] = [];
for (let after: string | undefined; ; ) {
  const page: Letter[] = [];
  for await (const letter of letters.list({ limit: 3, ...(after && { after }) })) page.push(letter);
  if (page.length === 0) break;
  pages.push(page.length);
  after = page.at(-1)?.cursor;
}

// One goes ahead; it comes back, so the others stay where they are. `startedAt` names the run for the next call.
const where = { reason: 'carrier down' };
const startedAt = new Date();
const { halted } = await letters.replay({ where, startedAt, canary: { count: 1, watchMs: 5_000 } });
carrierIsUp = true;
await until(4, 0);
const { replayed } = await letters.replay({ where, startedAt, ratePerSecond: 100 });
await until(2, 2);

// What came back in that run is for a new one; and an edited letter is a new message, checked as publish would.
await letters.replay({ where });
await letters.replay({ edit: () => ({ payload: { to: 'dee' } }) });
await until(0, 4);

console.log(
  `${JSON.stringify(reasons)} in pages of ${pages}; halted: ${halted?.reason}; then ${replayed}: ${delivered}`,
);
await client.close();
// prints: {"carrier down":3,"no address":1} in pages of 3,1; halted: 1 of 1 came back as dead letters: carrier down; then 2: bob,cid,ann,dee (was parcel-x)
