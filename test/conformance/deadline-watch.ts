import type { Client, PublishOptions } from '../../src/client.ts';
import { lagMeter } from './lag.ts';

/** S11 allows so much. */
const GRACE_MS = 1_000;
const DEFAULT_TIMEOUT_MS = 30_000;

/** Sees that every publish has its outcome by its deadline, whatever else a test looks at. */
export interface DeadlineWatch {
  /** Watches all that this client publishes from now on. */
  watch(client: Client): Client;
  /** Publishes that had none a second after their deadline, our own event loop's delays taken off. */
  readonly late: readonly string[];
  end(): void;
}

export function deadlineWatch(): DeadlineWatch {
  const lag = lagMeter();
  const late: string[] = [];
  const timers = new Set<NodeJS.Timeout>();

  function watched<T>(what: string, options: PublishOptions | undefined, publishing: Promise<T>): Promise<T> {
    const timeoutMs = options?.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const startedAt = performance.now();
    const lagBefore = lag.totalMs;
    let timer: NodeJS.Timeout | undefined;
    function look(): void {
      if (timer !== undefined) timers.delete(timer);
      const allowedMs = timeoutMs + GRACE_MS + lag.totalMs - lagBefore;
      const tookMs = performance.now() - startedAt;
      if (tookMs > allowedMs) {
        late.push(`${what}: ${Math.round(tookMs)} ms, with a deadline of ${timeoutMs} ms`);
        return;
      }
      timer = setTimeout(look, allowedMs - tookMs + 1);
      timer.unref();
      timers.add(timer);
    }
    look();
    const settled = (): void => {
      clearTimeout(timer);
      if (timer !== undefined) timers.delete(timer);
    };
    publishing.then(settled, settled);
    return publishing;
  }

  return {
    watch(client) {
      const { publish, publishAll } = client;
      const own: Pick<Client, 'publish' | 'publishAll'> = {
        publish: (topic, payload, options) =>
          watched(`publish of ${options?.id ?? 'a message'}`, options, publish(topic, payload, options)),
        publishAll(topic, payloads, optionsFor) {
          const longest = payloads.reduce(
            (most, payload, index) => Math.max(most, optionsFor?.(payload, index).timeoutMs ?? DEFAULT_TIMEOUT_MS),
            0,
          );
          const all = publishAll(topic, payloads, optionsFor);
          return watched(`publishAll of ${payloads.length}`, { timeoutMs: longest }, all);
        },
      };
      // In place: what a client is known by inside is the object itself.
      return Object.assign(client, own);
    },
    late,
    end() {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      lag.stop();
    },
  };
}
