/** A JSON event of exactly 1,024 bytes, as a payload and as text. */
export interface Event {
  readonly id: number;
  readonly at: number;
  readonly tenant: string;
  readonly pad: string;
}

const PAD = 'abcdefghij'.repeat(110);

export function event(id: number, at: number = performance.now()): Event {
  const bare = { id, at, tenant: `t-${id % 100}`, pad: '' };
  return { ...bare, pad: PAD.slice(0, 1_024 - JSON.stringify(bare).length) };
}
