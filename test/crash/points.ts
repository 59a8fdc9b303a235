/** Every crash point there is. A test compares this list with what the sources name. */

import type { BrokerName, Death, HandlerName, Route, StoreName } from './case.ts';
import type { Workload } from './messages.ts';

export interface Point {
  readonly name: string;
  readonly step: Step;
  /** Where the process dies, and what that proves. */
  readonly where: string;
  /** @default all */
  readonly brokers?: readonly BrokerName[];
  /** @default all */
  readonly routes?: readonly Route[];
  /** @default all */
  readonly stores?: readonly StoreName[];
  /** @default 'main' */
  readonly workload?: Workload;
  /** In each run it is reached so often at least: the seed picks one of these times. @default 1 */
  readonly hits?: number;
  /** A process before dies here: the point is reached only by who comes after the dead. */
  readonly before?: Death;
}
export const steps = [
  'producer',
  'outbox',
  'spill',
  'relay',
  'consumer',
  'settle',
  'dead letter',
  'halt and release',
  'replay',
  'discard',
] as const;
export type Step = (typeof steps)[number];

/** Where a batch of messages takes another way than a single one, or comes in another state. */
const batched: readonly Step[] = ['consumer', 'settle', 'dead letter', 'halt and release', 'replay'];
export const handlersOf = ({ step, workload }: Point): readonly HandlerName[] =>
  batched.includes(step) && workload !== 'delay' ? ['one', 'batch'] : ['one'];

const onServer = { stores: ['postgres'] } as const;
const rowed = ['outbox', 'spill'] as const;
const halting = { workload: 'halt', routes: ['direct'] } as const;
const delaying = { workload: 'delay', routes: ['direct'], brokers: ['kafka'] } as const;
const deduping = { workload: 'dedupe', routes: ['direct'] } as const;

export const points: readonly Point[] = [
  { name: 'declare:declared', step: 'producer', where: 'the topic is declared, and nobody has been told' },
  { name: 'publish:sending', step: 'producer', where: 'a batch is about to be sent' },
  { name: 'publish:answered', step: 'producer', where: 'the broker has a batch, and its publisher does not know' },
  { name: 'sqlite:publish-committed', step: 'producer', where: 'the batch is on disk', brokers: ['sqlite'] },
  {
    name: 'redis:publish-written',
    step: 'producer',
    where: 'the script has run, and nobody has asked whether it is on disk',
    brokers: ['redis'],
  },
  {
    name: 'outbox:added',
    step: 'outbox',
    where: 'a row is inserted, and its transaction open: it is rolled back, and never sent',
    routes: ['outbox'],
    hits: 12,
  },
  {
    name: 'outbox:committed',
    step: 'outbox',
    where: 'row and business data are committed',
    routes: ['outbox'],
    hits: 12,
  },
  {
    name: 'postgres:migrating',
    step: 'outbox',
    where: 'a table is asked for: none of them is there',
    ...onServer,
    hits: 12,
  },
  {
    name: 'postgres:adding',
    step: 'outbox',
    where: 'a row is on its way to the server, its transaction open',
    ...onServer,
    routes: rowed,
  },
  {
    name: 'postgres:committing',
    step: 'outbox',
    where: 'COMMIT is sent, of tables, rows, effects or a halted key, and the answer not heard',
    ...onServer,
    hits: 12,
  },
  {
    name: 'spill:storing',
    step: 'spill',
    where: 'the broker is away, and a batch about to be stored',
    routes: ['spill'],
  },
  {
    name: 'spill:stored',
    step: 'spill',
    where: 'a batch is stored, and its publisher does not know',
    routes: ['spill'],
  },
  { name: 'relay:leased', step: 'relay', where: 'shards are leased, by nobody any more', routes: rowed },
  { name: 'relay:read', step: 'relay', where: 'rows are read, and not sent', routes: rowed },
  { name: 'relay:confirmed', step: 'relay', where: 'rows are sent, and not deleted: they go out twice', routes: rowed },
  { name: 'relay:settled', step: 'relay', where: 'rows are sent and deleted', routes: rowed },
  {
    name: 'postgres:leasing',
    step: 'relay',
    where: 'shards are asked for, and will be leased to nobody',
    ...onServer,
    routes: rowed,
  },
  {
    name: 'postgres:settling',
    step: 'relay',
    where: 'rows are sent, and the server told to delete them',
    ...onServer,
    routes: rowed,
  },
  { name: 'sqlite:claim-committed', step: 'consumer', where: 'messages are leased', brokers: ['sqlite'], hits: 2 },
  {
    name: 'consume:begun',
    step: 'consumer',
    where: 'what a dead process was handling is counted, and about to be handled again',
    // RabbitMQ counts by a copy instead, and only what came back more than once.
    brokers: ['sqlite', 'redis', 'kafka'],
    before: { point: 'consume:handled', nth: 1 },
  },
  { name: 'inbox:claimed', step: 'consumer', where: 'the inbox has its row, the handler was not called', hits: 10 },
  {
    name: 'inbox:worked',
    step: 'consumer',
    where: 'the effects are written and not committed: they are undone',
    hits: 6,
  },
  {
    name: 'inbox:committed',
    step: 'consumer',
    where: 'the effects are committed, and the message comes again: the inbox knows it',
    hits: 6,
  },
  {
    name: 'postgres:claiming',
    step: 'consumer',
    where: 'the row of the inbox is on its way to the server',
    ...onServer,
    hits: 10,
  },
  {
    name: 'postgres:remembering',
    step: 'consumer',
    where: 'a message is claimed, or remembered as handled, and the answer not heard',
    ...deduping,
    ...onServer,
    hits: 16,
  },
  {
    name: 'dedupe:claimed',
    step: 'consumer',
    where: 'the message is claimed: the claim runs out',
    ...deduping,
    hits: 10,
  },
  { name: 'dedupe:released', step: 'consumer', where: 'a failed message is free for the next', ...deduping, hits: 4 },
  { name: 'dedupe:committed', step: 'consumer', where: 'a handled message is remembered', ...deduping, hits: 8 },
  { name: 'consume:handled', step: 'consumer', where: 'handled, and not acknowledged', hits: 12 },
  { name: 'settle:sending', step: 'settle', where: 'acknowledgements are about to be sent', hits: 2 },
  { name: 'settle:answered', step: 'settle', where: 'messages are acknowledged', hits: 2 },
  { name: 'retry:sending', step: 'settle', where: 'a failed message is about to go back', hits: 2 },
  { name: 'retry:answered', step: 'settle', where: 'a failed message waits for its next attempt', hits: 2 },
  {
    name: 'retry:counted',
    step: 'settle',
    where: 'in an ordered group, the failed attempt is counted on the broker',
    brokers: ['sqlite', 'redis', 'kafka'],
    hits: 2,
  },
  {
    name: 'settle:copy-confirmed',
    step: 'settle',
    where: 'the copy is on the broker, the original as well',
    brokers: ['rabbitmq', 'kafka'],
  },
  { name: 'sqlite:settle-committed', step: 'settle', where: 'settled on disk', brokers: ['sqlite'], hits: 3 },
  { name: 'sqlite:mark-committed', step: 'settle', where: 'marks are on disk', brokers: ['sqlite'], hits: 2 },
  {
    name: 'redis:settle-written',
    step: 'settle',
    where: 'settled by one script, and nobody has asked whether it is on disk',
    brokers: ['redis'],
    hits: 3,
  },
  { name: 'redis:mark-written', step: 'settle', where: 'marks are written', brokers: ['redis'], hits: 2 },
  { name: 'kafka:committed', step: 'settle', where: 'offsets are committed', brokers: ['kafka'] },
  {
    name: 'ladder:hopped',
    step: 'settle',
    where: 'a delayed message is in its next place, and in its old one',
    ...delaying,
  },
  {
    name: 'delay:forwarded',
    step: 'producer',
    where: 'a delayed message is in its topic, and still waits',
    ...delaying,
  },
  { name: 'dead:sending', step: 'dead letter', where: 'a message is given up, and still where it was', hits: 6 },
  {
    name: 'dead:copy-confirmed',
    step: 'dead letter',
    where: 'the letter is on the broker, the message as well',
    brokers: ['rabbitmq', 'kafka'],
  },
  { name: 'dead:answered', step: 'dead letter', where: 'the message is a dead letter alone', hits: 6 },
  {
    name: 'halt:entered',
    step: 'halt and release',
    where: 'the store has said whether the key stands still',
    ...halting,
    hits: 10,
  },
  {
    name: 'postgres:halting',
    step: 'halt and release',
    where: 'a step of a halted key is on its way to the server',
    ...halting,
    ...onServer,
    hits: 12,
  },
  {
    name: 'halt:halted',
    step: 'halt and release',
    where: 'the key stands still, and its message is no letter yet',
    ...halting,
  },
  {
    name: 'halt:parked',
    step: 'halt and release',
    where: 'a later one is to be parked, and not yet',
    ...halting,
    hits: 2,
  },
  {
    name: 'halt:through',
    step: 'halt and release',
    where: 'the store knows it as through, the broker does not',
    ...halting,
    hits: 3,
  },
  {
    name: 'release:begun',
    step: 'halt and release',
    where: 'the key is being released, and nothing sent back',
    ...halting,
  },
  { name: 'release:moving', step: 'halt and release', where: 'letters are about to go back', ...halting },
  { name: 'release:moved', step: 'halt and release', where: 'letters went back', ...halting },
  { name: 'replay:moving', step: 'replay', where: 'a replay or an edit is about to move a batch', hits: 3 },
  { name: 'replay:edited', step: 'replay', where: "edited messages are ready to take their letters' places" },
  {
    name: 'replay:copy-confirmed',
    step: 'replay',
    where: 'the message is back, its letter as well',
    brokers: ['rabbitmq', 'kafka'],
    hits: 3,
  },
  { name: 'sqlite:replay-committed', step: 'replay', where: 'moved on disk', brokers: ['sqlite'], hits: 3 },
  {
    name: 'redis:letters-written',
    step: 'replay',
    where: 'moved or discarded by one script, and nobody has asked whether it is on disk',
    brokers: ['redis'],
    hits: 4,
  },
  { name: 'replay:moved', step: 'replay', where: 'a batch went back', hits: 3 },
  { name: 'replay:canary-sent', step: 'replay', where: 'the canary is on its way, the others wait' },
  { name: 'discard:moving', step: 'discard', where: 'letters are about to be discarded' },
  { name: 'sqlite:discard-committed', step: 'discard', where: 'discarded on disk', brokers: ['sqlite'] },
  { name: 'discard:moved', step: 'discard', where: 'letters are gone' },
];
