import { createHash } from 'node:crypto';
import { decode } from '../consume/decode.ts';
import { HoldfastError, isHoldfastError } from '../errors.ts';
import { checkHeaders, checkKey } from '../message.ts';
import { anything, type Check, checkOptions, positiveMs, text } from '../options.ts';
import { partitionOf } from '../partition.ts';
import type { Headers, Outgoing, StoredLetter } from '../port.ts';
import { encode } from '../publish/encode.ts';
import { checkKeyed, prepare } from '../publish/prepare.ts';
import { letterName } from './letter.ts';
import type { LettersContext } from './walk.ts';

/** What is to be different; what is left out stays as it was, but for id, identity, source, times and expiry, which are new. */
export interface LetterEdit<I = unknown> {
  /** Checked and encoded as `publish` would. */
  readonly payload?: I;
  /** Instead of a payload: bytes as they are, which a consumer must be able to decode. */
  readonly body?: Uint8Array;
  /** Instead of all the old ones. */
  readonly headers?: Headers;
  /** Left out, the topic's key function is asked if there is a new payload; else it stays. */
  readonly key?: string;
  /** Counted from the replay. Left out, it does not expire. */
  readonly expiresInMs?: number;
}

/** The header of an edited message that holds the id of the one it was. */
export const CAUSATION = 'causation-id';

const bytes: Check = (value) => (value instanceof Uint8Array ? undefined : 'must be bytes');
const CHECKS: Readonly<Record<keyof LetterEdit, Check>> = {
  payload: anything,
  body: bytes,
  headers: anything,
  key: text,
  expiresInMs: positiveMs,
};

/** The message that takes the letter's place (S12). Throws before anything is sent or removed. */
export async function edited(context: LettersContext, stored: StoredLetter, edit: LetterEdit): Promise<Outgoing> {
  const { topic, topology, source } = context;
  checkOptions('edit', edit, CHECKS);
  if (edit.payload !== undefined && edit.body !== undefined)
    throw new TypeError('edit: give a payload or a body, not both');
  const old = stored.message;
  try {
    const { key, ...content } = await contentOf(context, stored, edit);
    const now = Date.now();
    return {
      topology,
      id: successorOf(context, stored),
      source,
      ...content,
      key,
      partition: key === undefined || key === old.key ? undefined : partitionOf(key, topology.partitions),
      lane: stored.lane,
      dedupeKey: undefined,
      headers: {
        ...(edit.headers === undefined ? old.headers : checkHeaders(edit.headers)),
        [CAUSATION]: letterName(stored),
      },
      publishedAt: now,
      expiresAt: edit.expiresInMs === undefined ? undefined : now + Math.ceil(edit.expiresInMs),
      delayMs: 0,
    };
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const { code, message, details } = error;
    throw new HoldfastError(
      code,
      `Letter "${letterName(stored)}" of topic "${topic.name}" stays as it is: ${message}`,
      {
        cause: error,
        details: { ...details, letter: letterName(stored) },
      },
    );
  }
}

type Content = Pick<Outgoing, 'body' | 'contentType' | 'key'>;

async function contentOf(
  { topic, maxBytes }: LettersContext,
  stored: StoredLetter,
  edit: LetterEdit,
): Promise<Content> {
  const old = stored.message;
  if (edit.payload !== undefined) {
    const key = edit.key ?? (topic.options.key === undefined ? old.key : undefined);
    const prepared = await prepare(topic, edit.payload, key === undefined ? undefined : { key }, maxBytes);
    return { body: prepared.body, contentType: prepared.contentType, key: prepared.key };
  }
  // Bytes are copied: whoever edits many letters may use one buffer for all.
  const { body } = encode(topic.name, undefined, edit.body ?? old.body, topic.options.maxBytes ?? maxBytes);
  const contentType = old.contentType ?? topic.options.codec?.contentType ?? 'application/json';
  await decode(topic, { message: { body, contentType } });
  const key = edit.key ?? old.key;
  if (key !== undefined) checkKey(key);
  checkKeyed(topic, key);
  return { body, contentType, key };
}

/**
 * The same for one letter whenever it is asked: where a replay is interrupted between copy and removal, and done again, the
 * inbox knows the second copy. Not derived from the letter's id alone, which a new broker may give again.
 */
function successorOf({ topic, group }: LettersContext, { letterId, place, deadAt, message }: StoredLetter): string {
  const { marks, id, publishedAt } = message;
  const names = [topic.name, group, letterId, place, deadAt, id, publishedAt, marks['dead-at']];
  const hex = createHash('sha256').update(JSON.stringify(names)).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}
