import { partitionOf } from '../partition.ts';
import type { OutboxAddOptions, OutboxEntry } from '../port.ts';
import { checkAddOptions, prepare } from '../publish/prepare.ts';
import { shapeOf } from '../shape.ts';
import type { Topic } from '../topic.ts';

/** The relay's units of ownership. A constant of the schema: changing it would send a key to another shard. */
export const OUTBOX_SHARDS = 64;

const shapes = new WeakMap<object, string>();

/** A payload as an outbox row: validated, encoded and sized before anything is stored (S32). */
export async function toEntry(
  topic: Topic,
  payload: unknown,
  options: OutboxAddOptions | undefined,
): Promise<OutboxEntry> {
  checkAddOptions(options);
  const prepared = await prepare(topic, payload, options);
  let shape = shapes.get(topic);
  if (shape === undefined) {
    shape = JSON.stringify(shapeOf(topic));
    shapes.set(topic, shape);
  }
  return { ...prepared, shape, topic: topic.name, shard: partitionOf(prepared.key ?? prepared.id, OUTBOX_SHARDS) };
}
