/**
 * A client in a process of its own, to be killed: started by `victim.ts`, told what to do by JSON lines on stdin, says
 * what happens by JSON lines on stdout.
 */

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from '../../src/connect.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { adapterFromUrl } from '../../src/schemes.ts';
import { type Handling, handlingOf, type Order } from './ledger.ts';
import { type Operation, operate } from './operate.ts';
import {
  type ConsumeScript,
  type HandlerScript,
  type ProcessScript,
  type PublishScript,
  scriptedHandler,
  scriptedTopic,
  type TopicScript,
} from './script.ts';
import { setClockAhead } from './skew.ts';

export type Command =
  | {
      readonly do: 'consume';
      readonly topic: TopicScript;
      readonly options: ConsumeScript;
      readonly handler: HandlerScript;
    }
  /** Publishes without waiting, ids `id-<n>`, and says of each that it was confirmed, or why not. */
  | {
      readonly do: 'publish';
      readonly topic: TopicScript;
      readonly orders: readonly Order[];
      readonly prefix: string;
      readonly options: PublishScript;
    }
  | {
      readonly do: 'replay';
      readonly topic: TopicScript;
      readonly group: string;
      readonly ratePerSecond: number | undefined;
    }
  | { readonly do: 'operate'; readonly topic: TopicScript; readonly group: string; readonly operation: Operation }
  | { readonly do: 'close' };

export type Told =
  | { readonly tell: 'ready' | 'consuming' | 'replayed' | 'closed' | 'passed' }
  | { readonly tell: 'started' | 'handled'; readonly handling: Handling }
  | { readonly tell: 'confirmed'; readonly id: string }
  | { readonly tell: 'error'; readonly error: string };

const [url, module, by, script] = process.argv.slice(2) as [string, string, string, string];
const { dieAt, tellAt, dieAfter, clockAheadMs } = JSON.parse(script) as ProcessScript;
if (clockAheadMs !== undefined) setClockAhead(clockAheadMs);

const counted = { confirmed: 0, started: 0 };

/** Written before it returns, so that what a handler told before a kill is told. */
function tell(told: Told): void {
  writeSync(1, `${JSON.stringify(told)}\n`);
  if (dieAfter === undefined) return;
  if (told.tell === 'confirmed') counted.confirmed += 1;
  else if (told.tell === 'started') counted.started += 1;
  if (counted.confirmed >= dieAfter.confirmed && counted.started >= dieAfter.started)
    process.kill(process.pid, 'SIGKILL');
}

async function makeAdapter(): Promise<BrokerAdapter> {
  if (module === '') return adapterFromUrl(url);
  const { adapter } = (await import(module)) as { adapter(url: string): BrokerAdapter };
  return adapter(url);
}

function crashPoint(name: string): void {
  if (name === dieAt) process.kill(process.pid, 'SIGKILL');
  if (name === tellAt) tell({ tell: 'passed' });
}

const client = await connect({ adapter: await makeAdapter(), source: 'conformance', crashPoint });
client.on('connection', ({ state, detail }) => tell({ tell: 'error', error: `connection ${state} ${detail ?? ''}` }));
client.on('warning', ({ code, detail }) => tell({ tell: 'error', error: `${code}: ${detail}` }));
client.on('publish-retry', ({ count, error }) => tell({ tell: 'error', error: `${count} again: ${String(error)}` }));
client.on('error', ({ during, error }) => tell({ tell: 'error', error: `${during}: ${String(error)}` }));

async function obey(command: Command): Promise<void> {
  switch (command.do) {
    case 'consume': {
      const handler = scriptedHandler(command.handler, (what, message) =>
        tell({ tell: what, handling: handlingOf(message, by) }),
      );
      await client.consume(scriptedTopic(command.topic), command.options, handler);
      return tell({ tell: 'consuming' });
    }
    case 'publish': {
      const topic = scriptedTopic(command.topic);
      for (const order of command.orders) {
        const id = `${command.prefix}${order.n}`;
        client.publish(topic, order, { ...command.options, id }).then(
          () => tell({ tell: 'confirmed', id }),
          (error: unknown) => tell({ tell: 'error', error: `${id}: ${String(error)}` }),
        );
      }
      return;
    }
    case 'replay':
      await client
        .deadLetters(scriptedTopic(command.topic), command.group)
        .replay(command.ratePerSecond === undefined ? {} : { ratePerSecond: command.ratePerSecond });
      return tell({ tell: 'replayed' });
    case 'operate':
      return operate(client.deadLetters(scriptedTopic(command.topic), command.group), command.operation);
    case 'close':
      await client.close();
      tell({ tell: 'closed' });
      process.exit(0);
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  obey(JSON.parse(line) as Command).catch((error: unknown) => tell({ tell: 'error', error: String(error) }));
});
// Without whoever started us there is nothing to do.
lines.on('close', () => process.exit(0));
tell({ tell: 'ready' });
