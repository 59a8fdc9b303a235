/** The ledger as plain lines, and what in it means that the demo has failed. */

import type { Ledger } from './ledger.ts';

export const CONSUMER_DIES_AT = 'consume:handled';
export const RELAY_DIES_AT = 'relay:confirmed';

export function linesOf(ledger: Ledger): readonly string[] {
  const { delays, board } = ledger.groups;
  return [
    `written ${ledger.written}`,
    `accepted ${ledger.accepted}`,
    `raw records ${ledger.poisoned}`,
    `handled delays ${delays.handled}`,
    `handled board ${board.handled}`,
    ...[...delays.dead].map(([reason, count]) => `dead-lettered delays ${reason} ${count}`).sort(),
    ...[...board.dead].map(([reason, count]) => `dead-lettered board ${reason} ${count}`).sort(),
    `dead letters twice ${delays.deadTwice + board.deadTwice}`,
    `killed consumer held ${ledger.killed.get(CONSUMER_DIES_AT) ?? 0}`,
    `killed relay held ${ledger.killed.get(RELAY_DIES_AT) ?? 0}`,
    `redelivered ${delays.redelivered + board.redelivered}`,
    `duplicates stopped ${ledger.duplicatesStopped}`,
    `duplicates unexplained ${ledger.duplicatesUnexplained}`,
    `unexpected ${delays.unexpected + board.unexpected}`,
    `doubled ${ledger.doubled}`,
    `lost ${lostOf(ledger)}`,
    `inverted ${ledger.inverted}`,
    ledger.totalsDiffer === 0 ? 'totals agree' : `totals differ ${ledger.totalsDiffer}`,
  ];
}

export const lostOf = ({ groups }: Ledger): number => groups.delays.lost + groups.board.lost;

/** Empty if all is well. A run in which no fault took effect proves nothing, so that is a failure too. */
export function failuresOf(
  ledger: Ledger,
  planned: { readonly records: number; readonly poisoned: number },
): readonly string[] {
  const { delays, board } = ledger.groups;
  const must: readonly (readonly [boolean, string])[] = [
    [lostOf(ledger) === 0, 'messages were lost'],
    [ledger.doubled === 0, 'effects were doubled'],
    [ledger.inverted === 0, 'the order of an airport was inverted'],
    [ledger.totalsDiffer === 0, 'totals differ from the file'],
    [delays.unexpected + board.unexpected === 0, 'something was handled or dead-lettered that should not have been'],
    [ledger.duplicatesUnexplained === 0, 'the inbox refused something that it had not seen'],
    [ledger.accepted === planned.records && ledger.poisoned === planned.poisoned, 'not all records were sent'],
    [(ledger.killed.get(CONSUMER_DIES_AT) ?? 0) > 1, 'no consumer was killed while it held deliveries'],
    [(ledger.killed.get(RELAY_DIES_AT) ?? 0) > 1, 'no relay was killed while it held rows'],
    [delays.redelivered + board.redelivered > 0, 'nothing was redelivered'],
    [ledger.duplicatesStopped > 0, 'the inbox had no duplicate to stop'],
  ];
  return must.filter(([well]) => !well).map(([, failure]) => failure);
}
