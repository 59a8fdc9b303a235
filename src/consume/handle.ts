/** Calls the handler once, for one message or a batch, inside the inbox's transaction if there is one. */

import { messageOf } from '../errors.ts';
import type { Inbox, InboxClaim } from '../port.ts';
import type { Call } from './calls.ts';

/** The inbox could not do its part: no attempt is spent, the handler may not even have been called. */
export class StoreFailed extends Error {
  override readonly name: string = 'StoreFailed';
  constructor(cause: unknown) {
    super(`the inbox failed: ${messageOf(cause)}`, { cause });
  }
}

/** Which of the messages were handled now; the others were handled before. */
export type Handled = readonly number[];

/** Without a store: every message is fresh. */
export async function handlePlain(
  call: Call,
  count: number,
  invoke: (tx: undefined, fresh: Handled) => unknown,
): Promise<Handled> {
  const fresh = count === 1 ? ONE : Array.from({ length: count }, (_, index) => index);
  await call.invoke(() => invoke(undefined, fresh));
  return fresh;
}
const ONE: Handled = [0];

/** Rejects with the handler's own error, or with StoreFailed where the store is to blame. */
export async function handleWithInbox(
  inbox: Inbox<unknown>,
  claims: readonly InboxClaim[],
  call: Call,
  invoke: (tx: unknown, fresh: Handled) => unknown,
  crashPoint: ((name: string) => void | Promise<void>) | undefined,
): Promise<Handled> {
  let thrown: { readonly error: unknown } | undefined;
  try {
    const handled = await inbox.run(claims, call.signal, async (tx, fresh) => {
      try {
        if (crashPoint !== undefined) await crashPoint('inbox:claimed');
        await call.invoke(() => invoke(tx, fresh));
        if (crashPoint !== undefined) await crashPoint('inbox:worked');
      } catch (error) {
        thrown = { error };
        throw error;
      }
    });
    if (crashPoint !== undefined) await crashPoint('inbox:committed');
    return handled;
  } catch (error) {
    if (thrown !== undefined) throw thrown.error;
    if (call.signal.aborted) throw call.signal.reason;
    throw new StoreFailed(error);
  }
}
