/**
 * A password that must never be printed: every credential of the tests of bad input carries it, and test/run.ts fails a
 * run whose output holds it. In parts, so that a code frame of this file is no finding.
 */
export const CANARY: string = ['s3cr3t', 'canary', '7f2e91'].join('-');
