import { Redis } from 'ioredis';
import { redis } from '../../adapters/redis/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { consumeTraps } from './traps-consume.ts';
import { trapFleet } from './traps-fleet.ts';
import { pausedTrap } from './traps-paused.ts';
import { publishTraps } from './traps-publish.ts';
import { rotationTrap } from './traps-rotation.ts';

const fleet = trapFleet('redis');
const usual = (url: string): BrokerAdapter => redis({ url });
const alert = (url: string): BrokerAdapter => redis({ url, commandTimeoutMs: 600, connectTimeoutMs: 1_000 });

publishTraps({ fleet, usual, alert, storedOnce: true });
consumeTraps({ fleet, usual, alert });
pausedTrap({ fleet, usual: alert });
rotationTrap({
  fleet,
  login: (url, username, password) => redis({ url, username, password }),
  async setPassword(username, password) {
    const operator = new Redis(fleet.server().url);
    await operator.acl('SETUSER', username, 'on', 'resetpass', `>${password}`, '~*', '&*', '+@all');
    operator.disconnect();
  },
});
