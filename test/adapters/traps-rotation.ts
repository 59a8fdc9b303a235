import { randomUUID } from 'node:crypto';
import { describe, it } from 'vitest';
import { defineTopic } from '../../src/define-topic.ts';
import { isHoldfastError } from '../../src/errors.ts';
import type { BrokerAdapter } from '../../src/port.ts';
import { until } from '../conformance/until.ts';
import { connect } from './traps-connect.ts';
import type { TrapFleet } from './traps-fleet.ts';

export interface RotationTrap {
  readonly fleet: TrapFleet;
  readonly login: (url: string, username: string, password: string) => BrokerAdapter;
  /** Creates the user, or gives it another password. */
  readonly setPassword: (username: string, password: string) => Promise<void>;
}

export function rotationTrap({ fleet, login, setPassword }: RotationTrap): void {
  describe(`${fleet.kind}: a password that is changed`, () => {
    it('Trap 48: refused when it reconnects, and says so; works again by itself when the password is back', async ({
      expect,
    }) => {
      const proxy = fleet.takeProxy();
      const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
      await setPassword('rotating', 'the-old-secret');
      const client = await connect({ adapter: login(proxy.url, 'rotating', 'the-old-secret') });
      try {
        const handled = new Set<string>();
        const publish = (id: string) => client.publish(topic, id, { id, timeoutMs: 1_500 });
        await client.consume(topic, { group: 'g' }, ({ id }) => void handled.add(id));
        await publish('before');
        await until('it is handled', () => handled.has('before'));

        await setPassword('rotating', 'the-new-secret');
        proxy.reset();
        await until('health is red', async () => !(await client.health()).ready);
        // The first may have been written to a connection that was not yet known to be broken.
        let refused: unknown;
        await until('publishing is refused', async () => {
          refused = await publish(`refused-${randomUUID()}`).catch((error: unknown) => error);
          return isHoldfastError(refused) && refused.outcome === 'not-sent';
        });
        const health = await client.health();
        expect(health).toMatchObject({ live: true, ready: false });
        expect(JSON.stringify(health) + String(refused)).toMatch(/refused|WRONGPASS|password/i);
        expect(JSON.stringify(health) + String(refused)).not.toContain('the-old-secret');

        await setPassword('rotating', 'the-old-secret');
        await until('it publishes again', () =>
          publish('after').then(
            () => true,
            () => false,
          ),
        );
        await until('it handles again', () => handled.has('after'));
        await until('health is green', async () => (await client.health()).ready);
      } finally {
        await client.close();
        fleet.giveBack(proxy);
      }
    });
  });
}
