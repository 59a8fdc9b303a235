import { isConnectionLoss, sqlState } from './errors.ts';

/** What has been tried so often in vain is the caller's to hear of. */
const TRIES = 5;

/**
 * Does again what may be done twice: where the connection was lost, where somebody else's lock was in the way, and above
 * READ COMMITTED, which a database may have for its default, where somebody else came first.
 */
export async function insist<R>(work: () => Promise<R>): Promise<R> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const code = sqlState(error);
      const again = code === '40001' || code === '40P01' || isConnectionLoss(error);
      if (!again || tries === TRIES) throw error;
    }
  }
}
