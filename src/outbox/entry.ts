import { partitionOf } from '../partition.ts';
import type { OutboxAddOptions, OutboxEntry } from '../port.ts';
import { checkAddOptions, prepare } from '../publish/prepare.ts';
import { shapeOf } from '../shape.ts';
import type { Topic } from '../topic.ts';

/** The relay's units of ownership. A constant of the schema: changing it would send a key to another shard. */
export const OUTBOX_SHARDS = 64;

const shapes = new WeakMap<object, string>();

/** The topic's topology as stores keep it. */
export function shapeTextOf(topic: Topic): string {
  let shape = shapes.get(topic);
  if (shape === undefined) {
    shape = JSON.stringify(shapeOf(topic));
    shapes.set(topic, shape);
  }
  return shape;
}

/** Which relay a message belongs to. */
export const shardOf = (key: string | undefined, id: string): number => partitionOf(key ?? id, OUTBOX_SHARDS);

/** A payload as an outbox row: validated, encoded and sized before anything is stored (S32). */
export async function toEntry(
  topic: Topic,
  payload: unknown,
  options: OutboxAddOptions | undefined,
): Promise<OutboxEntry> {
  checkAddOptions(options);
  const prepared = await prepare(topic, payload, options);
  return {
    ...prepared,
    shape: shapeTextOf(topic),
    topic: topic.name,
    shard: shardOf(prepared.key, prepared.id),
  };
}
