/*
 * The metadata of each commit tells the next owner of a partition what became of the records after the offset:
 *
 *   clean        nothing after it was ever handed out
 *   moved N      some up to offset N were, and their consumer lived on: it handed the partition over
 *   at N who     some up to offset N were at the time of the commit, and maybe more since
 */

export const CLEAN = 'clean';

export interface Start {
  /** Records up to here were certainly handed out before. */
  readonly handedOutTo: number;
  /** Whether their consumer may have died of one of them. */
  readonly died: boolean;
  /** The last note was our own: nobody else had the partition in between. */
  readonly ours: boolean;
}

export const movedNote = (handedOutTo: number): string => `moved ${handedOutTo}`;
export const atNote = (handedOutTo: number, who: string): string => `at ${handedOutTo} ${who}`;

/** `me` has only lost its connection and lives. */
export function readNote(metadata: string, me: string): Start {
  const [, kind, offset, who] = /^(moved|at) (-?\d{1,16})(?: (.+))?$/.exec(metadata) ?? [];
  return {
    handedOutTo: offset === undefined ? -1 : Number(offset),
    died: kind === 'at' && who !== me,
    ours: who === me,
  };
}
