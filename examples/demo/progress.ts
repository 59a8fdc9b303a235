/** How far a run is, from the ledger files while they grow. */

import { followLedgers } from './ledger-file.ts';

export interface Counts {
  accepted: number;
  delays: number;
  board: number;
  deaths: number;
  /** Lines of whatever kind. */
  events: number;
}

export interface Progress {
  /** As of this call. Messages that are handled twice count twice: the ledger in the end is exact, this is not. */
  counts(): Readonly<Counts>;
  /** Draws a last time. Idempotent. */
  stop(): void;
}

const REDRAW_MS = 250;
const LINE_MS = 5_000;
const BAR = 24;

/** Shows one line that is rewritten, or, where nobody watches, a line now and then. */
export function showProgress(directory: string, records: number): Progress {
  const read = followLedgers(directory);
  const counts: Counts = { accepted: 0, delays: 0, board: 0, deaths: 0, events: 0 };
  const { isTTY } = process.stdout;
  const began = performance.now();

  function update(): Counts {
    for (const entry of read()) {
      counts.events += 1;
      if (entry.event === 'accepted') counts.accepted += 1;
      else if (entry.event === 'handled') counts[entry.group] += 1;
      else if (entry.event === 'killed') counts.deaths += 1;
    }
    return counts;
  }

  function draw(): void {
    const { accepted, delays, board, deaths } = update();
    const share = Math.min(1, (accepted + delays + board) / (3 * records));
    const bar = '█'.repeat(Math.floor(share * BAR)).padEnd(BAR, '░');
    const seconds = Math.round((performance.now() - began) / 1_000);
    const text = `${bar} ${seconds} s: accepted ${accepted}, delays ${delays}, board ${board} of ${records}; killed ${deaths}`;
    process.stdout.write(isTTY ? `\r${text}\u001b[K` : `${text}\n`);
  }

  let timer: NodeJS.Timeout | undefined = setInterval(draw, isTTY ? REDRAW_MS : LINE_MS);
  return {
    counts: update,
    stop() {
      if (timer === undefined) return;
      clearInterval(timer);
      timer = undefined;
      draw();
      if (isTTY) process.stdout.write('\n');
    },
  };
}
