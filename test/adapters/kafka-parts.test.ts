import { describe, expect, it } from 'vitest';
import type {
  BatchAnswer,
  KafkaClient,
  KafkaProducer,
  KafkaRecord,
  PartitionBatch,
} from '../../adapters/kafka/client.ts';
import { brokerClock } from '../../adapters/kafka/clock.ts';
import { durabilityWatch } from '../../adapters/kafka/durability.ts';
import { type KafkaOptions, kafka } from '../../adapters/kafka/index.ts';
import type { RawCluster } from '../../adapters/kafka/kafkajs/cluster.ts';
import { leadership } from '../../adapters/kafka/kafkajs/leaders.ts';
import { LAST_RESTART_MS, MEMBER_RETRY } from '../../adapters/kafka/kafkajs/member.ts';
import { RETRY } from '../../adapters/kafka/kafkajs.ts';
import { RUNGS, ripeness, rungFor } from '../../adapters/kafka/ladder.ts';
import { deadTopic, groupId, laneTopic, retryTopic } from '../../adapters/kafka/names.ts';
import type { Settings } from '../../adapters/kafka/options.ts';
import { LAST_RETRY_MS, openSender, type Sender } from '../../adapters/kafka/sender.ts';
import { append, finish, newShare, requeue, watermark } from '../../adapters/kafka/share.ts';
import { atNote, CLEAN, kindIn, marksFit, movedNote, readNote, withKind } from '../../adapters/kafka/start.ts';
import type { AdapterHooks } from '../../src/port.ts';
import { until } from './kafka-fixture.ts';

describe('a broker that is back', () => {
  it('is looked for at least every 2 s, so that publishing and consuming go on within 5 s', () => {
    for (const ms of [LAST_RESTART_MS, LAST_RETRY_MS, RETRY.maxRetryTime, MEMBER_RETRY.maxRetryTime])
      expect(ms).toBeLessThanOrEqual(2_000);
  });
});

describe('a ladder', () => {
  it('is never left early, and late by less than a second or a tenth', () => {
    for (const delayMs of [
      1, 99, 100, 250, 251, 900, 1_000, 3_300, 5_000, 29_999, 61_000, 600_000, 5_400_000, 86_400_000,
    ]) {
      let now = 1_000_000;
      let rung = rungFor(delayMs);
      let waitMs = delayMs;
      let since = now;
      for (let hops = 0; ; ) {
        const record = {
          timestamp: since,
          headers: { 'hf-k-wait': Buffer.from(String(waitMs)) },
        } as unknown as KafkaRecord;
        const state = ripeness(record, rung, now);
        if (state.kind === 'due') break;
        if (state.kind === 'resting') now = state.until;
        else {
          expect(++hops).toBeLessThan(60);
          waitMs = Math.ceil(state.waitMs);
          rung = rungFor(waitMs);
          since = now;
        }
      }
      expect(now - 1_000_000).toBeGreaterThanOrEqual(delayMs);
      // On the shortest rung a record waits behind others for up to that rung.
      expect(now - 1_000_000 + RUNGS[1]!).toBeLessThanOrEqual(delayMs + Math.max(1_000, delayMs / 10));
    }
  });

  it('lets dues rise along each rung: none there rests longer than the rung, and what is sent there has as long to wait', () => {
    for (const delayMs of [250, 400, 1_000, 4_999, 5_000, 3_600_000, 9_999_999])
      expect(RUNGS[rungFor(delayMs)]).toBeLessThanOrEqual(delayMs);
    expect(rungFor(0)).toBe(0);
  });
});

describe('the broker’s clock', () => {
  it('Trap 49: is never taken for later than it is, whatever our own says', () => {
    let mine = 5_000;
    const clock = brokerClock(
      () => mine,
      () => 999_999_999,
    );
    expect(clock.now()).toBe(999_999_999);
    expect(clock.sure()).toBe(false);
    // Appended at the broker's 1,000,000; the answer took 40 ms.
    mine += 40;
    clock.observe(1_000_000, true);
    expect(clock.now()).toBe(1_000_000);
    mine += 60_000;
    expect(clock.now()).toBe(1_060_000);
    // A quicker answer shows more of the truth, a slower one nothing new.
    clock.observe(1_060_035, true);
    expect(clock.now()).toBe(1_060_035);
    clock.observe(1_060_000, true);
    expect(clock.now()).toBe(1_060_035);
    mine += 700_000;
    expect(clock.sure()).toBe(false);
  });
});

describe('names on Kafka', () => {
  it('are legal and distinct, however long topic and group are', () => {
    const topics = ['a', 'a.b', `${'t'.repeat(199)}1`, `${'t'.repeat(199)}2`];
    const groups = ['g', 'high', 'delay', `${'g'.repeat(63)}1`, `${'g'.repeat(63)}2`];
    const all = topics.flatMap((topic) => [
      ...(['high', 'normal', 'low'] as const).map((lane) => laneTopic(topic, lane)),
      ...groups.flatMap((group) => [retryTopic(topic, group), deadTopic(topic, group)]),
    ]);
    expect(new Set(all).size).toBe(all.length);
    for (const name of all) expect(name).toMatch(/^[A-Za-z0-9._-]{1,249}$/);
    expect(groupId('a', 'g')).toBe('a--g');
  });
});

describe('a watermark', () => {
  const record = (offset: number) => ({ offset, headers: {} }) as unknown as KafkaRecord;

  it('never passes what is not done, over gaps and refetches', () => {
    const share = newShare({ topic: 't', partition: 0 }, undefined);
    expect(watermark(share)).toBeUndefined();
    append(share, [record(3), record(7), record(8)], 12);
    append(share, [record(7), record(8), record(12)], 13);
    expect(share.queue.map(({ offset }) => offset)).toEqual([3, 7, 8, 12]);
    const [a, b, c, d] = share.queue;
    finish(c!);
    finish(b!);
    expect(watermark(share)).toBe(3);
    finish(a!);
    expect(watermark(share)).toBe(12);
    share.queue = [];
    requeue(d!);
    expect(share.queue).toEqual([d]);
    finish(d!);
    expect(watermark(share)).toBe(13);
  });
});

describe('a sender', () => {
  interface Sent {
    readonly producer: number;
    readonly texts: readonly string[];
    answer(...answers: BatchAnswer[]): void;
  }
  const yes: BatchAnswer = { stored: 'yes', offset: 0, appendedAt: undefined };
  const maybe: BatchAnswer = { stored: 'maybe', error: new Error('connection lost') };
  const no: BatchAnswer = { stored: 'no', error: new Error('not connected') };

  /** A client whose producers answer when the test says so. */
  function fake(): { sender: Sender; sent: Sent[]; killed: number[] } {
    const sent: Sent[] = [];
    const killed: number[] = [];
    let producers = 0;
    const client = {
      async producer(): Promise<KafkaProducer> {
        const producer = producers++;
        return {
          send: (batches) =>
            new Promise((resolve) => {
              const texts = batches.flatMap(({ records }) => records.map(({ value }) => String(value)));
              sent.push({ producer, texts, answer: (...answers) => resolve(answers) });
            }),
          kill: () => killed.push(producer),
          close: async () => {},
        };
      },
    } as unknown as KafkaClient;
    return { sender: openSender(client, brokerClock(), 300), sent, killed };
  }
  const batch = (partition: number, text: string): PartitionBatch => ({
    topic: 't',
    partition,
    records: [{ key: null, value: Buffer.from(text), headers: {} }],
  });
  const soon = (): number => Date.now() + 10_000;

  it('has one request per partition on its way, and lets partitions go apart', async () => {
    const { sender, sent } = fake();
    const outcomes = [
      sender.send([batch(0, 'a')], soon()),
      sender.send([batch(0, 'b'), batch(1, 'c')], soon()),
      sender.send([batch(2, 'd')], soon()),
    ];
    await until(() => sent.length === 2);
    expect(sent.map(({ texts }) => texts)).toEqual([['a'], ['d']]);
    sent[0]!.answer(yes);
    await until(() => sent.length === 3);
    expect(sent[2]!.texts).toEqual(['b', 'c']);
    sent[1]!.answer(yes);
    sent[2]!.answer(no, yes);
    expect((await Promise.all(outcomes)).map((answers) => answers.map(({ stored }) => stored))).toEqual([
      ['yes'],
      ['no', 'yes'],
      ['yes'],
    ]);
    await sender.close();
  });

  it('sends again by the same producer what may have been stored, and believes no later “no”', async () => {
    const { sender, sent } = fake();
    const outcome = sender.send([batch(0, 'a'), batch(1, 'b')], Date.now() + 1_000);
    await until(() => sent.length === 1);
    sent[0]!.answer(maybe, yes);
    await until(() => sent.length === 2);
    expect(sent[1]).toMatchObject({ producer: 0, texts: ['a'] });
    // Not connected this time; but the first try may have been stored, and its number must not be given to another batch.
    sent[1]!.answer(no);
    await until(() => sent.length === 3);
    sent[2]!.answer(no);
    for (let i = 3; ; i++) {
      const more = await Promise.race([outcome.then(() => false), until(() => sent.length > i).then(() => true)]);
      if (!more) break;
      sent[i]!.answer(no);
    }
    expect((await outcome).map(({ stored }) => stored)).toEqual(['maybe', 'yes']);
    const next = sender.send([batch(0, 'c')], soon());
    await until(() => sent.at(-1)!.texts[0] === 'c');
    expect(sent.at(-1)!.producer).toBe(1);
    sent.at(-1)!.answer(yes);
    await next;
    await sender.close();
  });

  it('S11: holds a partition back until what outlived its deadline is settled', async () => {
    const { sender, sent } = fake();
    const late = await sender.send([batch(0, 'a')], Date.now() + 50);
    expect(late).toMatchObject([{ stored: 'maybe' }]);
    const next = sender.send([batch(0, 'b')], soon());
    const other = sender.send([batch(1, 'c')], soon());
    await until(() => sent.length === 2);
    expect(sent[1]).toMatchObject({ producer: 1, texts: ['c'] });
    sent[0]!.answer(yes);
    await until(() => sent.length === 3);
    expect(sent[2]).toMatchObject({ producer: 1, texts: ['b'] });
    sent[1]!.answer(yes);
    sent[2]!.answer(yes);
    await Promise.all([next, other]);
    await sender.close();
  });

  it('S11: else destroys its sockets and lets a further request timeout pass', async () => {
    const { sender, sent, killed } = fake();
    await sender.send([batch(0, 'a')], Date.now() + 50);
    const began = Date.now();
    const next = sender.send([batch(0, 'b')], soon());
    await until(() => sent.length === 2);
    expect(killed).toEqual([0]);
    expect(Date.now() - began).toBeGreaterThanOrEqual(590);
    sent[1]!.answer(yes);
    expect(await next).toEqual([yes]);
    await sender.close();
  });
});

describe('a leader that does not know a new topic yet', () => {
  const unknown = Object.assign(new Error('not here'), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
  const cluster = {
    brokerPool: {
      findConnectedBroker: async () => ({
        metadata: async () => ({ topicMetadata: [{ topic: 't', partitionMetadata: [{ partitionId: 0, leader: 7 }] }] }),
      }),
    },
  } as unknown as RawCluster;

  it('is asked again for a moment, as a deleted topic is', async () => {
    const { asking } = leadership(cluster, 60_000);
    let asked = 0;
    const answer = await asking('t', async (leaders) => {
      if (++asked < 4) throw unknown;
      return leaders.get(0);
    });
    expect([answer, asked]).toEqual([7, 4]);
    await expect(asking('t', () => Promise.reject(unknown))).rejects.toBe(unknown);
  });

  it('and one that is being elected is waited for, where partitions are counted', async () => {
    const electing = Object.assign(new Error('no leader'), { type: 'LEADER_NOT_AVAILABLE' });
    const answers = [
      electing,
      electing,
      { topicMetadata: [{ topic: 't', partitionMetadata: [{ partitionId: 0 }, { partitionId: 1 }] }] },
      unknown,
    ];
    const metadata = async (): Promise<unknown> => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    const electingCluster = {
      brokerPool: { findConnectedBroker: async () => ({ metadata }) },
    } as unknown as RawCluster;
    const { partitionsOf } = leadership(electingCluster, 60_000);
    expect(await partitionsOf('t')).toBe(2);
    expect(await partitionsOf('t')).toBeUndefined();
  });
});

describe('what a confirm means on Kafka', () => {
  it('is a majority of the replicas only where the options say so; what is left to the broker is promised by nobody', () => {
    const durability = (options: Partial<KafkaOptions>): string =>
      kafka({ brokers: 'localhost', ...options }).capabilities.durability;
    expect(durability({})).toBe('memory');
    expect(durability({ replication: 1, minInsync: 1 })).toBe('memory');
    expect(durability({ replication: 3 })).toBe('memory');
    expect(durability({ replication: 3, minInsync: 1 })).toBe('memory');
    expect(durability({ minInsync: 2 })).toBe('memory');
    expect(durability({ replication: 3, minInsync: 2 })).toBe('replicated');
    expect(durability({ replication: 2, minInsync: 2 })).toBe('replicated');
    expect(durability({ replication: 5, minInsync: 2 })).toBe('memory');
  });

  it('is looked at on topics that are there: a weak one is told once, again when it changes, and not when it is mended', async () => {
    const said: string[] = [];
    let replicas = 1;
    let insync = '1';
    const client = { replicasOf: async () => replicas, configOf: async () => insync } as unknown as KafkaClient;
    const hooks = { emit: ({ detail }: { detail?: string }) => said.push(detail!) } as unknown as AdapterHooks;
    const { look, weaknesses } = durabilityWatch(client, { replication: 3, minInsync: 2 } as Settings, hooks);
    await look(['t']);
    await look(['t']);
    expect(said).toHaveLength(1);
    replicas = 3;
    await look(['t']);
    expect(said).toHaveLength(2);
    expect(weaknesses()).toEqual([said[1]]);
    insync = '2';
    await look(['t']);
    expect([said.length, weaknesses()]).toEqual([2, []]);
  });
});

describe('the note beside a committed offset', () => {
  const marks = new Map([
    [7, { attempts: '2', suspect: '1' }],
    [9, { attempts: '1' }],
  ]);

  it('S18: carries the marks of suspects, whether their owner died or handed over', () => {
    expect(readNote(atNote(12, 'them', marks), 'us')).toEqual({ handedOutTo: 12, died: true, ours: false, marks });
    expect(readNote(atNote(12, 'us', marks), 'us')).toEqual({ handedOutTo: 12, died: false, ours: true, marks });
    expect(readNote(movedNote(-1, marks), 'us')).toEqual({ handedOutTo: -1, died: false, ours: false, marks });
  });

  it('is read as before without marks, and as nothing where others wrote it', () => {
    const none = new Map();
    expect(readNote(atNote(3, 'them', none), 'us')).toEqual({ handedOutTo: 3, died: true, ours: false, marks: none });
    expect(readNote('hello', 'us')).toEqual({ handedOutTo: -1, died: false, ours: false, marks: none });
    expect(readNote('at 3 them [[broken]]', 'us').marks).toEqual(none);
  });

  it('says whether the group is ordered, and of older ones nothing is said', () => {
    for (const kind of ['ordered', 'free'] as const) {
      for (const note of [CLEAN, movedNote(3, marks), atNote(3, 'us', marks)]) {
        expect(kindIn(withKind(kind, note))).toBe(kind);
        expect(readNote(withKind(kind, note), 'us')).toEqual(readNote(note, 'us'));
        expect(kindIn(note)).toBeUndefined();
      }
    }
  });

  it('has room for about forty marks', () => {
    const many = (count: number) =>
      new Map(
        Array.from({ length: count }, (_, n) => [
          n + 1e9,
          { attempts: '10', 'first-failed': '1700000000000', suspect: '1' },
        ]),
      );
    expect([marksFit(many(40)), marksFit(many(60))]).toEqual([true, false]);
  });
});
