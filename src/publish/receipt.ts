/** What a publish fulfils with. */
export interface Receipt {
  readonly id: string;
  /** `spilled`: stored by `connect`'s `spill` while the broker is away, and sent when it is back. */
  readonly outcome: 'confirmed' | 'spilled';
  /** Where the broker put it, if it says. */
  readonly position?: string;
}
