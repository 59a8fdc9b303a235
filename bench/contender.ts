/** What is measured: one client on one fresh topic, doing the same work as its rival. */
export interface Contender {
  /** Publishes for this long from `callers` concurrent callers that each await their own confirm; returns how many were confirmed. */
  publish(callers: number, seconds: number): Promise<number>;
  /** Consumes and acknowledges `count` waiting messages with an empty async handler; returns messages per second from the first. */
  consume(count: number): Promise<number>;
  /** Publishes `rate` a second and takes publish → handler times. */
  latency(rate: number, seconds: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

export interface Rival {
  readonly name: string;
  open(): Promise<Contender>;
}

export interface Scenario {
  readonly broker: 'rabbitmq' | 'kafka' | 'redis';
  readonly raw: Rival;
  readonly holdfast: Rival;
  /** Single awaited sends, where the raw client's best practice is another (kafkajs arrays). */
  readonly single?: Rival;
}

/** Runs `callers` loops until the time is up. Each yields once per turn, as a server that handles requests would. */
export async function callersFor(
  callers: number,
  seconds: number,
  publish: (index: number) => Promise<unknown>,
): Promise<number> {
  const end = performance.now() + seconds * 1_000;
  let next = 0;
  let confirmed = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < end) {
      await publish(next++);
      confirmed += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return confirmed;
}

/** Open loop: sends on a 1 ms timer, never waiting for answers. */
export async function openLoop(rate: number, seconds: number, send: (index: number) => void): Promise<number> {
  const startedAt = performance.now();
  const total = rate * seconds;
  let sent = 0;
  while (sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) * rate) / 1_000));
    while (sent < due) send(sent++);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return total;
}
