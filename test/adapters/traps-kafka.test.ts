import { kafka } from '../../adapters/kafka/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { consumeTraps } from './traps-consume.ts';
import { trapFleet } from './traps-fleet.ts';
import { pausedTrap } from './traps-paused.ts';
import { publishTraps } from './traps-publish.ts';

const fleet = trapFleet('kafka');
const usual = (url: string): BrokerAdapter => kafka({ brokers: url });
const alert = (url: string): BrokerAdapter =>
  kafka({ brokers: url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000, sessionTimeoutMs: 6_000 });

publishTraps({ fleet, usual, alert, storedOnce: false });
consumeTraps({ fleet, usual, alert });
pausedTrap({ fleet, usual: alert });
