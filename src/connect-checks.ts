import { isName } from './message.ts';
import { type Check, type Checks, count, func, oneOf, text } from './options.ts';
import { spillCheck } from './outbox/spill-options.ts';
import { breakerChecks } from './policy/circuit-breaker.ts';

const source: Check = (value) =>
  isName(value) ? undefined : 'must be 1 to 128 printable characters, at most 255 bytes';

/** Of what a client is made of beside its adapter: by `connect`, and by each environment of a config. */
export const clientChecks: Checks = {
  source,
  declare: oneOf('create', 'verify', 'none'),
  breaker: breakerChecks,
  buffer: { messages: count(1), bytes: count(1) },
  spill: spillCheck,
  name: text,
  crashPoint: func,
};
