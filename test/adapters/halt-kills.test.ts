import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { sqliteStore } from '../../adapters/sqlite/index.ts';
import { type Client, connect } from '../../src/index.ts';
import { until } from '../conformance/until.ts';
import { urlOf } from './conformance-fixture.ts';
import { adapterOf, consumeAt, type Death, type Place, topicOf } from './halt-child.ts';

const PATIENCE_MS = 60_000;

type Defer = (cleanup: () => Promise<unknown>) => void;

/** Five messages of a key, the second of which cannot be handled until `mend`, and everything that is needed. */
async function open(broker: string, onTestFinished: (cleanup: () => Promise<void>) => void) {
  const defer: Defer = (cleanup) => onTestFinished(async () => void (await cleanup()));
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-halt-'));
  defer(async () => rm(folder, { recursive: true, force: true }));
  const url = broker === 'sqlite' ? `sqlite:${folder}/broker.db` : urlOf(broker as 'redis');
  const place: Place = { url, folder, topic: `halt-${randomUUID().slice(0, 8)}` };
  const store = sqliteStore({ path: `${folder}/store.db` });
  await store.migrate();
  defer(async () => store.close());
  const topic = topicOf(place);
  const client = async (): Promise<Client> => {
    const made = await connect({ adapter: await adapterOf(place) });
    defer(async () => made.close({ drainMs: 1_000 }));
    return made;
  };
  const here = await client();
  const letters = here.deadLetters(topic, 'g');
  const publish = async (from: number, count: number): Promise<void> => {
    const numbers = Array.from({ length: count }, (_, index) => ({ n: from + index }));
    for (const result of await here.publishAll(topic, numbers)) expect(result.ok).toBe(true);
  };
  /** What was handled so far, in order, the first time each. */
  const handled = (): readonly number[] => {
    const file = `${folder}/handled`;
    return existsSync(file) ? [...new Set(readFileSync(file, 'utf8').trim().split('\n').map(Number))] : [];
  };
  const parked = async (): Promise<number> => (await letters.halted({ halts: store.halts }))[0]?.parked ?? 0;
  writeFileSync(`${folder}/broken`, '');
  await publish(0, 5);
  return {
    mend: () => rm(`${folder}/broken`),
    run: (role: 'consume' | 'release', death: Death) => run(place, role, death, defer),
    publish,
    handled,
    consume: async () => consumeAt(await client(), place, store.halts),
    release: () => letters.release('k', { halts: store.halts }),
    restWaits: () =>
      until('the rest waits', async () => (await parked()) >= 4 && (await letters.count()) >= 4, PATIENCE_MS),
    async allHandled(count: number): Promise<void> {
      await until('all are handled', () => handled().length === count, PATIENCE_MS);
      expect(handled()).toEqual(Array.from({ length: count }, (_, n) => n));
    },
    noLetterLeft: () => until('no letter is left', async () => (await letters.count()) === 0, PATIENCE_MS),
  };
}

/** Resolves with the signal that ended it. */
function run(place: Place, role: 'consume' | 'release', death: Death, defer: Defer): Promise<unknown> {
  const file = fileURLToPath(new URL('./halt-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['-C', 'source', file, JSON.stringify([place, role, death])], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  defer(async () => child.kill('SIGKILL'));
  return once(child, 'exit').then(([, signal]) => signal);
}

const copies = { rabbitmq: 'replay:copy-confirmed', kafka: 'replay:copy-confirmed', sqlite: 'sqlite:replay-committed' };

describe.each(['sqlite', 'redis', 'rabbitmq', 'kafka'] as const)(
  'S27: on %s a kill -9',
  { timeout: 180_000 },
  (broker) => {
    it.concurrent.for<readonly [string, Death]>([
      ['when the key stands still, before the letter', { point: 'halt:halted', nth: 1 }],
      ['when a later message is noted as waiting, before its letter', { point: 'halt:parked', nth: 2 }],
    ])('of the consumer %s, loses and overtakes nothing', async ([, death], { onTestFinished }) => {
      const at = await open(broker, onTestFinished);
      expect(await at.run('consume', death)).toBe('SIGKILL');
      await at.consume();
      await at.restWaits();
      // What was handled last may come again, and waits then like any other.
      expect(at.handled()).toEqual([0]);
      await at.mend();
      expect(await at.release()).toMatchObject({ state: 'free', left: 0 });
      await at.publish(5, 2);
      await at.allHandled(7);
      await at.noLetterLeft();
    });

    it.concurrent.for<readonly [string, Death]>([
      ['when a message of a release is handled, before that is noted', { point: 'consume:handled', nth: 3 }],
      ['when that is noted, before the message is settled', { point: 'halt:through', nth: 2 }],
    ])('of the consumer %s, loses and overtakes nothing', async ([, death], { onTestFinished }) => {
      const at = await open(broker, onTestFinished);
      const dying = at.run('consume', death);
      await at.restWaits();
      await at.mend();
      const releasing = at.release();
      expect(await dying).toBe('SIGKILL');
      expect(at.handled()).toEqual([0, 1, 2]);
      await at.publish(5, 2);
      await at.consume();
      expect(await releasing).toMatchObject({ state: 'free', left: 0 });
      await at.publish(7, 1);
      await at.allHandled(8);
    });

    const releases: readonly (readonly [string, Death])[] = [
      ['when it has begun', { point: 'release:begun', nth: 1 }],
      ['when it has sent messages back', { point: 'release:moved', nth: 1 }],
      // In Redis they are one step.
      ...(broker === 'redis'
        ? []
        : [['between copies and their originals', { point: copies[broker], nth: 1 }] as const]),
    ];
    it.concurrent.for(releases)(
      'of the release %s, loses and overtakes nothing: another goes on',
      async ([, death], { onTestFinished }) => {
        const at = await open(broker, onTestFinished);
        await at.consume();
        await at.restWaits();
        await at.mend();
        expect(await at.run('release', death)).toBe('SIGKILL');
        await at.publish(5, 2);
        expect(await at.release()).toMatchObject({ state: 'free', left: 0 });
        await at.publish(7, 1);
        await at.allHandled(8);
        await at.noLetterLeft();
      },
    );
  },
);
