const AGAIN_MS = 50;

/** Tries until it succeeds, for as long as an error is given patience, counted from the first try; 0 is none. */
export async function again<T>(work: () => Promise<T>, patienceMs: (error: unknown) => number): Promise<T> {
  for (const since = Date.now(); ; ) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() - since >= patienceMs(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
