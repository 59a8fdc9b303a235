import type { ChannelModel } from 'amqplib';
import { type Bell, backoffMs, bell, within } from './bell.ts';
import { adapterError, asError, connectError } from './errors.ts';
import type { Node, Settings } from './options.ts';

/** One connection that is kept: lost, it is opened again until `close`. */
export interface Link {
  readonly name: 'publish' | 'consume';
  /** Rings when the connection opens, closes, is blocked or unblocked, and when what runs over it changed likewise. */
  readonly changed: Bell;
  current(): ChannelModel | undefined;
  isBlocked(): boolean;
  /** Why it was lost last, or could not be opened. */
  lastError(): Error | undefined;
  /** The open connection, awaited for at most this long; rejects with `broker-unreachable`. */
  opened(waitMs: number): Promise<ChannelModel>;
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly name: Link['name'];
  readonly settings: Settings;
  readonly clientName: string;
  /** Awaited before the connection counts as open; a rejection closes it and is tried again. */
  readonly prepare: (model: ChannelModel) => Promise<void>;
  readonly emit: (type: 'connected' | 'disconnected' | 'blocked' | 'unblocked', detail?: string) => void;
  readonly warn: (code: string, detail: string) => void;
}

const HANG_UP_MS = 1_000;

type Amqplib = typeof import('amqplib');

async function loadClient(): Promise<Amqplib> {
  try {
    const loaded: Amqplib & { default?: Amqplib } = await import('amqplib');
    return loaded.default ?? loaded;
  } catch (cause) {
    throw adapterError('missing-peer', 'holdfast/rabbitmq needs the package "amqplib": npm install amqplib', cause);
  }
}

/** Opens the connection, trying each node once, and keeps it. */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { name, settings, emit, warn } = options;
  const amqplib = await loadClient();
  const changed = bell();
  const closing = bell();
  let model: ChannelModel | undefined;
  let blocked = false;
  let closed = false;
  let lastError: Error | undefined;
  let turn = 0;

  async function open(node: Node): Promise<void> {
    const opening = await amqplib.connect(
      {
        protocol: node.protocol,
        hostname: node.hostname,
        port: node.port,
        username: node.username,
        password: node.password,
        // amqplib decodes it once more.
        vhost: encodeURIComponent(node.vhost),
        heartbeat: settings.heartbeatSeconds,
      },
      {
        ...settings.tls,
        noDelay: true,
        keepAlive: true,
        timeout: settings.connectTimeoutMs,
        clientProperties: { connection_name: `${options.clientName} ${name}` },
      },
    );
    let lost = false;
    opening.on('error', (error) => {
      lastError = error;
    });
    opening.on('handler-error', (error, event) => warn('listener-failed', `${event}: ${error.message}`));
    opening.on('blocked', (reason) => {
      blocked = true;
      emit('blocked', `${name}: ${reason}`);
      changed.ring();
    });
    opening.on('unblocked', () => {
      blocked = false;
      emit('unblocked', name);
      changed.ring();
    });
    opening.on('close', (error) => {
      lost = true;
      if (error) lastError = error;
      // A peer that is gone without a word answers no goodbye.
      setTimeout(cut, HANG_UP_MS, opening).unref();
      if (model !== opening) return;
      model = undefined;
      blocked = false;
      changed.ring();
      emit('disconnected', `${name} ${node.name}${error ? `: ${error.message}` : ''}`);
      if (!closed) void reopen();
    });
    await options.prepare(opening).catch(async (error) => {
      if (!lost) await hangUp(opening);
      throw error;
    });
    if (closed && !lost) await hangUp(opening);
    if (closed || lost) throw lastError ?? new Error('connection closed');
    model = opening;
    changed.ring();
    emit('connected', `${name} ${node.name}`);
  }

  async function reopen(): Promise<void> {
    for (let failures = 0; !closed; failures++) {
      await closing.wait(backoffMs(Math.floor(failures / settings.nodes.length)));
      if (closed) return;
      try {
        await open(settings.nodes[turn++ % settings.nodes.length]!);
        return;
      } catch (error) {
        lastError = asError(error);
      }
    }
  }

  let failure: unknown;
  for (const node of settings.nodes) {
    turn++;
    try {
      await open(node);
      failure = undefined;
      break;
    } catch (error) {
      failure = connectError(error, node.name);
    }
  }
  if (failure !== undefined) throw failure;

  const unreachable = (): Error =>
    adapterError(
      'broker-unreachable',
      `the connection to RabbitMQ (${name}) is down: ${lastError?.message ?? 'closed'}`,
      lastError,
    );

  return {
    name,
    changed,
    current: () => model,
    isBlocked: () => blocked,
    lastError: () => lastError,
    async opened(waitMs) {
      const until = Date.now() + waitMs;
      while (model === undefined) {
        const left = until - Date.now();
        if (closed || left <= 0) throw unreachable();
        await changed.wait(left);
      }
      return model;
    },
    async close() {
      closed = true;
      const last = model;
      model = undefined;
      closing.ring();
      changed.ring();
      if (last !== undefined) await hangUp(last);
    },
  };
}

/** Says goodbye, and cuts the socket if the broker does not answer that within a second. */
async function hangUp(model: ChannelModel): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    model.on('close', () => resolve());
  });
  const goodbye = model.close().then(
    () => closed,
    () => {},
  );
  await within(Promise.race([goodbye, closed]), HANG_UP_MS);
  cut(model);
}

/** amqplib offers no way to cut a connection; without it a dead peer would keep the socket, and the process, alive. */
function cut(model: ChannelModel): void {
  const { stream } = model.connection as unknown as { stream?: { destroy(): void } };
  stream?.destroy();
}
