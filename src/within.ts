/** Waits for `event`, at most `ms`; leaves no timer behind. */
export async function within(ms: number, event: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([event, late]).finally(() => clearTimeout(timer));
}
