import { identityOf } from '../message.ts';
import type { Delivery } from '../port.ts';
import { readProgress, readSuspicion } from './marks.ts';

/** One delivery on its way through this consumer. */
export interface Work {
  readonly delivery: Delivery;
  /** Handler calls so far, in this process and (by marks) before. */
  attempts: number;
  firstFailedAt: number | undefined;
  /** What its marks on the broker say of `attempts`. One more than that, and the next call is counted already (S18). */
  counted: number;
  /** Now or once it was being handled when its consumer died: handled alone, each call counted before it begins. */
  readonly suspect: boolean;
  /** A copy of it, which counts its next call, comes round. */
  copied: boolean;
  /** Its source has lost it: whatever comes of it settles nothing. */
  revoked: boolean;
  /** Where keys may stand still (S27): how the store knows it, and what the store said of it. */
  parking: { readonly name: string; token: string; entry: 'free' | 'next' | 'parked' } | undefined;
  /** Somebody else has taken over its dedupe claim: the message is theirs to handle. */
  claimLost: boolean;
  /** Its next call was counted by the rate when it was dispatched. */
  started: boolean;
  /** Its handler has returned. */
  handled: boolean;
  /** While it is handled: tells the handler that the message, or its claim, is lost. */
  onRevoked: (() => void) | undefined;
}

export function workFor(delivery: Delivery): Work {
  const { attempts: counted, firstFailedAt } = readProgress(delivery.message.marks);
  const { suspect, begun } = readSuspicion(delivery.message.marks);
  // One that was delivered before may have been called: by whoever has died since.
  const ahead = begun && !delivery.suspect && !delivery.redelivered && counted > 0;
  return {
    delivery,
    attempts: ahead ? counted - 1 : counted,
    firstFailedAt,
    counted,
    suspect: suspect || delivery.suspect,
    copied: false,
    revoked: false,
    parking: undefined,
    claimLost: false,
    started: false,
    handled: false,
    onRevoked: undefined,
  };
}

/** What the message is known by; a foreign one by its place, where that is stable (S26). */
export function identified(
  { delivery: { message, position } }: Work,
  { stablePositions }: { readonly stablePositions: boolean },
): string | undefined {
  return identityOf(message) ?? (stablePositions ? identityOf({ ...message, id: position }) : undefined);
}
