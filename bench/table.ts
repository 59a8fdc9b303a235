export interface Row {
  readonly broker: string;
  readonly name: string;
  readonly raw: number;
  readonly ours: number;
  readonly ratio: number;
  /** Lowest and highest ratio of a round. */
  readonly spread: string;
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** Rounds are interleaved, so each pair saw the same machine: the ratio is taken pair by pair. */
export function compare(broker: string, name: string, raw: readonly number[], ours: readonly number[]): Row {
  const ratios = ours.map((value, index) => value / raw[index]!);
  return {
    broker,
    name,
    raw: median(raw),
    ours: median(ours),
    ratio: median(ratios),
    spread: `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
  };
}

const figure = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(2));

export function table(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ broker, name, raw, ours, ratio, spread }) =>
      `| ${broker} | ${name} | ${figure(raw)} | ${figure(ours)} | ${ratio.toFixed(2)} | ${spread} |`,
  );
  return ['| broker | what | raw | holdfast | ratio | spread |', '|---|---|---|---|---|---|', ...lines].join('\n');
}
