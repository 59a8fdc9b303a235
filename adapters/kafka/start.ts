import type { Headers } from '../../src/port.ts';

/*
 * The metadata of each commit tells the next owner of a partition what became of the records after the offset:
 *
 *   clean        nothing after it was ever handed out
 *   moved N      some up to offset N were, and their consumer lived on: it handed the partition over
 *   at N who     some up to offset N were at the time of the commit, and maybe more since
 *
 * and after `moved` or `at`, as JSON, marks of unsettled records that replace their own: [[offset, marks], …]
 *
 * In front stands `ordered` or `free`: what the group is, so that it is noticed when it is declared otherwise.
 */

export type Kind = 'ordered' | 'free';
export const kindOf = ({ ordered }: { readonly ordered: boolean }): Kind => (ordered ? 'ordered' : 'free');
/** What a note says of its group; undefined where it says nothing. */
export const kindIn = (metadata: string): Kind | undefined =>
  /^(ordered|free) /.exec(metadata)?.[1] as Kind | undefined;
export const withKind = (kind: Kind | undefined, note: string): string =>
  kind === undefined ? note : `${kind} ${note}`;

export const CLEAN = 'clean';

export interface Start {
  /** Records up to here were certainly handed out before. */
  readonly handedOutTo: number;
  /** Whether their consumer may have died of one of them. */
  readonly died: boolean;
  /** The last note was our own: nobody else had the partition in between. */
  readonly ours: boolean;
  readonly marks: Marks;
}

export type Marks = ReadonlyMap<number, Headers>;
/** Brokers take 4,096 bytes of metadata (`offset.metadata.max.bytes`); the rest of a note is shorter than what is left. */
const MOST_BYTES = 3_500;

const marksText = (marks: Marks): string => (marks.size === 0 ? '' : ` ${JSON.stringify([...marks])}`);
export const marksFit = (marks: Marks): boolean => Buffer.byteLength(marksText(marks)) <= MOST_BYTES;

export const movedNote = (handedOutTo: number, marks: Marks): string => `moved ${handedOutTo}${marksText(marks)}`;
export const atNote = (handedOutTo: number, who: string, marks: Marks): string =>
  `at ${handedOutTo} ${who}${marksText(marks)}`;

/** `me` has only lost its connection and lives. */
export function readNote(metadata: string, me: string): Start {
  const [, kind, offset, who, marks] =
    /^(?:(?:ordered|free) )?(moved|at) (-?\d{1,16})(?: ([^[ ].*?))?(?: (\[\[.*\]\]))?$/.exec(metadata) ?? [];
  return {
    handedOutTo: offset === undefined ? -1 : Number(offset),
    died: kind === 'at' && who !== me,
    ours: who === me,
    marks: readMarks(marks),
  };
}

/** Nothing where others wrote something else. */
function readMarks(text: string | undefined): Marks {
  if (text === undefined) return new Map();
  try {
    return new Map(JSON.parse(text) as [number, Headers][]);
  } catch {
    return new Map();
  }
}
