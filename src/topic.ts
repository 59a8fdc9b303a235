import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Codec } from './codec.ts';
import type { EntrySource, Priority } from './port.ts';

export interface GroupOptions {
  /** `'key'`: messages of one key are handled one after the other, in the order they were accepted (G5). @default 'none' */
  readonly order?: 'none' | 'key';
}

export interface TopicOptions<Input, Output = Input> {
  /** Any Standard Schema (zod, valibot, arktype …). Publishing checks the input, consuming hands over the output (S13). */
  readonly schema?: StandardSchemaV1<Input, Output>;
  /** @default strict JSON; `Uint8Array` payloads travel as they are */
  readonly codec?: Codec;
  /** The key that order, partitions and shards go by. Needed where a group is ordered. */
  key?(payload: Input): string;
  /** What makes two messages the same to inbox and dedupe. @default source and id */
  dedupeKey?(payload: Input): string;
  /** Declares the lanes high, normal and low, and says which one a message takes. */
  readonly priority?: Priority | PriorityOf<Input>;
  /** Parallelism of an ordered group. Cannot be changed later without moving the messages (S2). @default 1; Kafka 6 */
  readonly partitions?: number;
  /** Consumer groups, declared by publishers too, so that a message waits for a group whose consumers start later. A list of names means none ordered. */
  readonly groups?: readonly string[] | Readonly<Record<string, GroupOptions>>;
  /**
   * Largest encoded payload: what is above it is refused when published, and dead-lettered unparsed
   * (`message-too-large`) when it comes from elsewhere. @default what the adapter takes, at most 1 MiB
   */
  readonly maxBytes?: number;
  /** @default 'dead-letter' */
  readonly onExpired?: 'dead-letter' | 'drop';
}

/** A method's type, so that a topic of any payload is a `Topic`. */
export type PriorityOf<Input> = { of(payload: Input): Priority }['of'];

export interface Topic<Input = unknown, Output = Input> extends EntrySource<Input> {
  readonly name: string;
  readonly options: TopicOptions<Input, Output>;
}

export function isTopic(value: unknown): value is Topic {
  return typeof value === 'object' && value !== null && 'name' in value && 'options' in value && 'toEntry' in value;
}
