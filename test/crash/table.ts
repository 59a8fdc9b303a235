import { brokers } from './case.ts';
import type { Point } from './points.ts';
import type { Result } from './run-case.ts';

/** Point by point, green of all on each broker, in Markdown. */
export function tableOf(points: readonly Point[], results: readonly Result[]): string {
  const used = brokers.filter((broker) => results.some(({ planned }) => planned.broker === broker));
  const rows = points
    .map((point) => ({ point, own: results.filter(({ planned }) => planned.point === point) }))
    .filter(({ own }) => own.length > 0)
    .map(({ point, own }) => {
      const cells = used.map((broker) => cellOf(own.filter(({ planned }) => planned.broker === broker)));
      return row([`\`${point.name}\``, point.where, ...cells]);
    });
  return [
    row(['point', 'the process dies when', ...used]),
    row(['---', '---', ...used.map(() => '---')]),
    ...rows,
  ].join('\n');
}

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function cellOf(results: readonly Result[]): string {
  if (results.length === 0) return '';
  const green = results.filter(({ problems }) => problems.length === 0).length;
  return green === results.length ? `${green}` : `**${green} of ${results.length}**`;
}

export function lineOf({ planned, problems }: Result): string {
  const { point, broker, route, store, handler, nth } = planned;
  return `RED ${point.name} on ${broker}, ${route}, store ${store}, handler ${handler}, time ${nth}: ${problems.join('; ')}`;
}

export function summaryOf(
  results: readonly Result[],
  { seconds, cores, seed }: { readonly seconds: number; readonly cores: number; readonly seed: number },
): string {
  const total = (of: (result: Result) => number): number => results.reduce((sum, result) => sum + of(result), 0);
  const red = results.filter(({ problems }) => problems.length > 0);
  const says = (word: string): number =>
    red.filter(({ problems }) => problems.some((problem) => problem.includes(word))).length;
  return [
    `${results.length} cases, ${results.length - red.length} green, ${red.length} red; accepted ${total(({ count }) => count.accepted)}`,
    `lost ${total(({ count }) => count.lost)}, phantom ${total(({ count }) => count.phantom)}`,
    `doubled ${total(({ count }) => count.doubled)}, inverted ${total(({ count }) => count.inverted)}`,
    `handled and dead ${total(({ count }) => count.handledAndDead)}, stuck ${says('stuck')}, not reached ${says('not reached')}`,
    `edited twice, having two letters, ${total(({ count }) => count.editedTwice)}; handler calls repeated ${total(({ count }) => count.again)}, with several messages ${total(({ count }) => count.together)}; seed ${seed}, ${cores} cores, ${seconds.toFixed(0)} s`,
  ].join('; ');
}
