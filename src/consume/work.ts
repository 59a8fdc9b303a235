import type { Delivery } from '../port.ts';
import { readProgress } from './marks.ts';

/** One delivery on its way through this consumer. */
export interface Work {
  readonly delivery: Delivery;
  /** Handler calls so far, in this process and (by marks) before. */
  attempts: number;
  firstFailedAt: number | undefined;
  /** Its source has lost it: whatever comes of it settles nothing. */
  revoked: boolean;
  /** Its handler has returned. */
  handled: boolean;
  /** While it is handled: tells the handler that the source has lost it. */
  onRevoked: (() => void) | undefined;
}

export function workFor(delivery: Delivery): Work {
  const { attempts, firstFailedAt } = readProgress(delivery.message.marks);
  return { delivery, attempts, firstFailedAt, revoked: false, handled: false, onRevoked: undefined };
}
