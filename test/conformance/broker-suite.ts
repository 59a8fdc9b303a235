import { attemptCases } from './attempt-cases.ts';
import { batchCases } from './batch-cases.ts';
import { breakerCases } from './breaker-cases.ts';
import { capabilityCases } from './capability-cases.ts';
import { clockCases } from './clock-cases.ts';
import { closeCases } from './close-cases.ts';
import { consumeCases } from './consume-cases.ts';
import { crashLoopCases } from './crash-loop-cases.ts';
import { crashPointCases } from './crash-point-cases.ts';
import { deadLetterCases } from './dead-letter-cases.ts';
import { deadlineCases } from './deadline-cases.ts';
import { deathCases } from './death-cases.ts';
import { delayCases } from './delay-cases.ts';
import { drainCases } from './drain-cases.ts';
import { expiryCases } from './expiry-cases.ts';
import { groupCases } from './group-cases.ts';
import { haltCases } from './halt-cases.ts';
import { lingerCases } from './linger-cases.ts';
import { onceCases } from './once-cases.ts';
import type { BrokerSuiteOptions, Suite } from './options.ts';
import { orderCases } from './order-cases.ts';
import { orderTrapCases } from './order-trap-cases.ts';
import { pausedCases } from './paused-cases.ts';
import { priorityCases } from './priority-cases.ts';
import { publishCases } from './publish-cases.ts';
import { rateCases } from './rate-cases.ts';
import { replayCases } from './replay-cases.ts';
import { restartCases } from './restart-cases.ts';
import { retryCases } from './retry-cases.ts';
import { stallCases } from './stall-cases.ts';
import { stateCases } from './state-cases.ts';
import { withPatience } from './until.ts';
import { inWorld } from './world.ts';

/**
 * All that holdfast promises of a broker, through `connect`, as tests of the given runner.
 *
 * Each case works on topics of its own and closes what it opens. Where a capability is missing, the case of it tests the
 * fallback or the refusal instead.
 */
export function brokerSuite(options: BrokerSuiteOptions): void {
  const suite: Suite = {
    ...options,
    byKey: options.capabilities.order === 'none' ? 'none' : 'key',
    case: (title, run, timeoutMs) =>
      void options.it(
        `${options.name}: ${title}`,
        () => withPatience(options.patienceMs ?? 40_000, () => inWorld(options, run)),
        timeoutMs,
      ),
  };
  // Those that wait longest come first, so that a runner that overlaps cases has something to do meanwhile.
  const families = [
    restartCases,
    crashLoopCases,
    stallCases,
    pausedCases,
    crashPointCases,
    drainCases,
    clockCases,
    deathCases,
    attemptCases,
    orderTrapCases,
    orderCases,
    haltCases,
    capabilityCases,
    publishCases,
    lingerCases,
    delayCases,
    consumeCases,
    groupCases,
    retryCases,
    breakerCases,
    deadlineCases,
    deadLetterCases,
    replayCases,
    expiryCases,
    onceCases,
    batchCases,
    priorityCases,
    rateCases,
    closeCases,
    stateCases,
  ];
  for (const register of families) register(suite);
}
