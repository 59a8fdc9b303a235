import { rabbitmq } from '../../adapters/rabbitmq/index.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { managementApi } from './rabbitmq-fixture.ts';
import { consumeTraps } from './traps-consume.ts';
import { trapFleet } from './traps-fleet.ts';
import { pausedTrap } from './traps-paused.ts';
import { publishTraps } from './traps-publish.ts';
import { rotationTrap } from './traps-rotation.ts';

const fleet = trapFleet('rabbitmq');
const usual = (url: string): BrokerAdapter => rabbitmq({ url });
const alert = (url: string): BrokerAdapter => rabbitmq({ url, heartbeatSeconds: 1, connectTimeoutMs: 1_000 });

publishTraps({ fleet, usual, alert, storedOnce: false });
consumeTraps({ fleet, usual, alert });
pausedTrap({ fleet, usual: alert });
rotationTrap({
  fleet,
  login: (url, username, password) => rabbitmq({ url, username, password }),
  async setPassword(username, password) {
    const put = (path: string, body: object) => managementApi('PUT', path, body, fleet.server().managementUrl);
    await put(`/users/${username}`, { password, tags: '' });
    await put(`/permissions/%2F/${username}`, { configure: '.*', write: '.*', read: '.*' });
  },
});
