import type { logCreator } from 'kafkajs';

export type Warn = (code: string, detail: string) => void;

const AGAIN_AFTER_MS = 10_000;
const MOST_REMEMBERED = 200;
/** Said of things that we do on purpose. */
const expected = [
  'closed by this client',
  'Limiting retries for the idempotent producer',
  'KafkaJS v2.0.0 switched default partitioner',
];

/** kafkajs's warnings and errors as warning events, each at most once in ten seconds. Nothing is printed. */
export function logger(warn: Warn): logCreator {
  const saidAt = new Map<string, number>();
  return () =>
    ({ namespace, log }) => {
      const about = namespace === '' ? '' : `${namespace}: `;
      // `error` is a message, never a payload; a stack or a buffer is not passed on.
      const cause = typeof log.error === 'string' && log.error !== log.message ? ` (${log.error})` : '';
      const detail = `${about}${log.message}${cause}`;
      // An answer that is an error: whoever asked gets it, and says so if it matters.
      if (log.message.startsWith('Response ') || expected.some((text) => log.message.includes(text))) return;
      const now = Date.now();
      if (now - (saidAt.get(detail) ?? Number.NEGATIVE_INFINITY) < AGAIN_AFTER_MS) return;
      if (saidAt.size >= MOST_REMEMBERED) saidAt.clear();
      saidAt.set(detail, now);
      warn('kafkajs', detail);
    };
}
