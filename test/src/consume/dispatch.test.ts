import { describe, expect, it } from 'vitest';
import { createDispatch, type Dispatch } from '../../../src/consume/dispatch.ts';
import { consumePlan } from '../../../src/consume/options.ts';
import { type Work, workFor } from '../../../src/consume/work.ts';
import { rateLimit } from '../../../src/policy/rate.ts';
import type { Priority } from '../../../src/port.ts';

let positions = 0;
function work(lane: Priority, { key, suspect = false }: { key?: string; suspect?: boolean } = {}): Work {
  positions += 1;
  return workFor({
    message: {
      id: String(positions),
      source: 's',
      body: new Uint8Array(),
      contentType: undefined,
      key: key ?? String(positions),
      dedupeKey: undefined,
      headers: {},
      marks: {},
      publishedAt: undefined,
      expiresAt: undefined,
    },
    lane,
    shard: 0,
    epoch: 1,
    redelivered: suspect,
    suspect,
    position: String(positions),
    handle: undefined,
  });
}

/** One slot, and what ran in it; `after` sees each run before the next begins. */
async function runs(
  ordered: boolean,
  count: number,
  begin: (dispatch: Dispatch) => void,
  after: (dispatch: Dispatch, done: Work) => void,
) {
  const ran: Work[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const dispatch: Dispatch = createDispatch({
    plan: consumePlan({ group: 'g', concurrency: 1, laneWeights: { high: 8, normal: 2, low: 1 } }),
    ordered,
    runner: { batchSize: 1, batchWaitMs: 0 },
    breaker: undefined,
    rate: rateLimit(undefined),
    open: () => ran.length < count,
    async run([done]) {
      ran.push(done!);
      after(dispatch, done!);
      dispatch.schedule.free(done!);
      if (ran.length === count) resolve();
    },
    fetch: () => undefined,
  });
  begin(dispatch);
  dispatch.pump();
  await promise;
  dispatch.close();
  return ran;
}

const share = (ran: readonly Work[], lane: Priority): number =>
  ran.filter(({ delivery }) => delivery.lane === lane).length;

describe('G6: lanes have their shares', () => {
  it('in an ordered group also while the retries of held keys are always due', async () => {
    const ran = await runs(
      true,
      110,
      (dispatch) => {
        for (let n = 0; n < 20; n += 1) for (const lane of ['normal', 'low'] as const) dispatch.add(work(lane));
        for (let n = 0; n < 20; n += 1) dispatch.addDue(work('high'));
      },
      (dispatch, done) => {
        // What is handled of the upper lanes fails, and is due again at once.
        if (done.delivery.lane !== 'low') dispatch.addDue(done);
      },
    );
    expect([share(ran, 'high'), share(ran, 'normal'), share(ran, 'low')]).toEqual([80, 20, 10]);
  });

  it('when a whole lane comes back from a dead consumer as suspects, low does not hold up high, nor high low', async () => {
    const ran = await runs(
      false,
      45,
      (dispatch) => {
        for (let n = 0; n < 40; n += 1) dispatch.add(work('low', { suspect: true }));
        for (let n = 0; n < 40; n += 1) dispatch.add(work('high', { suspect: n % 2 === 0 }));
      },
      () => undefined,
    );
    expect([share(ran, 'high'), share(ran, 'low')]).toEqual([40, 5]);
  });

  it('a retried message goes before the new ones of its lane', async () => {
    const [first, second, again] = [work('low'), work('low'), work('low')];
    const ran = await runs(
      true,
      3,
      (dispatch) => {
        dispatch.add(first);
        dispatch.add(second);
        dispatch.addDue(again);
      },
      () => undefined,
    );
    expect(ran).toEqual([again, first, second]);
  });

  it('ordered suspects run alone, in their lane’s turn', async () => {
    const ran = await runs(
      true,
      33,
      (dispatch) => {
        for (let n = 0; n < 40; n += 1) dispatch.add(work('low', { suspect: true }));
        for (let n = 0; n < 40; n += 1) dispatch.add(work('high'));
      },
      () => undefined,
    );
    expect(share(ran, 'low')).toBeGreaterThanOrEqual(3);
    expect(share(ran, 'high')).toBeGreaterThanOrEqual(26);
  });
});
