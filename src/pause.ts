/** Waits so long, or rejects with the signal's reason when it aborts. */
export async function pause(ms: number, until: AbortSignal | undefined): Promise<void> {
  until?.throwIfAborted();
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, ms);
    const abort = (): void => {
      clearTimeout(timer);
      reject(until?.reason);
    };
    function done(): void {
      until?.removeEventListener('abort', abort);
      resolve();
    }
    until?.addEventListener('abort', abort, { once: true });
  });
}
