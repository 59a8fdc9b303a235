import { isUint8Array } from 'node:util/types';
import { type Codec, jsonCodec } from '../codec.ts';
import { HoldfastError, isHoldfastError, textOf } from '../errors.ts';

export interface Encoded {
  readonly body: Uint8Array;
  readonly contentType: string;
}
export const BYTES = 'application/octet-stream';
export const DEFAULT_MAX_BYTES: number = 1024 * 1024;

/** Payload → bytes, once, at accept time: later changes of the payload have no effect. Bytes travel as they are. */
export function encode(topic: string, codec: Codec | undefined, payload: unknown, maxBytes: number): Encoded {
  const encoded =
    codec === undefined && isUint8Array(payload)
      ? // Not slice(): a Buffer's is a view of the same bytes.
        { body: new Uint8Array(payload), contentType: BYTES }
      : byCodec(topic, codec ?? jsonCodec, payload);
  if (encoded.body.byteLength > maxBytes) {
    throw new HoldfastError(
      'message-too-large',
      `The encoded payload for topic "${topic}" has ${encoded.body.byteLength} bytes, more than the limit of ${maxBytes}; ` +
        "send a reference to the data instead, or raise maxBytes and the broker's own limit",
      { details: { topic, bytes: encoded.body.byteLength, maxBytes } },
    );
  }
  return encoded;
}

function byCodec(topic: string, codec: Codec, payload: unknown): Encoded {
  let body: unknown;
  try {
    body = codec.encode(payload);
  } catch (error) {
    if (isHoldfastError(error)) throw error;
    throw new HoldfastError(
      'not-encodable',
      `The payload for topic "${topic}" cannot be encoded as ${codec.contentType}: ${textOf(error)}`,
      { cause: error },
    );
  }
  if (!isUint8Array(body)) {
    throw new HoldfastError(
      'not-encodable',
      `The codec of topic "${topic}" must encode to a Uint8Array, received ${body === null ? 'null' : typeof body}`,
    );
  }
  return { body, contentType: codec.contentType };
}
