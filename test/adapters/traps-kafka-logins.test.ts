import { randomUUID } from 'node:crypto';
import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  type Admin,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaOptions, kafka } from '../../adapters/kafka/index.ts';
import { defineTopic } from '../../src/define-topic.ts';
import { until } from '../conformance/until.ts';
import { type KafkaWithLogins, startKafkaWithLogins } from '../fleet/recipes/kafka-logins.ts';
import { connect } from './traps-connect.ts';
import { rotationTrap } from './traps-rotation.ts';

let fleet: KafkaWithLogins;
let admin: Admin;
beforeAll(async () => {
  fleet = await startKafkaWithLogins();
  admin = new Kafka({ brokers: [fleet.server.url.replace('kafka://', '')], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
}, 180_000);
afterAll(async () => {
  await admin?.disconnect();
  await fleet?.stop();
});

const scram = (username: string, password: string): KafkaOptions['sasl'] => ({
  mechanism: 'scram-sha-256',
  username,
  password,
});

const acl = (
  user: string,
  type: AclResourceTypes,
  name: string,
  operation: AclOperationTypes = AclOperationTypes.ALL,
) => ({
  principal: `User:${user}`,
  host: '*',
  permissionType: AclPermissionTypes.ALLOW,
  operation,
  resourceType: type,
  resourceName: name,
  resourcePatternType: name === '*' ? ResourcePatternTypes.LITERAL : ResourcePatternTypes.PREFIXED,
});
const { TOPIC, GROUP } = AclResourceTypes;

async function mayDoAll(user: string): Promise<void> {
  await admin.createAcls({ acl: [acl(user, TOPIC, '*'), acl(user, GROUP, '*')] });
}

rotationTrap({
  fleet: {
    kind: 'kafka',
    server: () => fleet.server,
    takeProxy: () => fleet.proxy,
    giveBack: (proxy) => proxy.heal(),
  },
  login: (url, username, password) =>
    kafka({ brokers: url, sasl: scram(username, password)!, connectTimeoutMs: 2_000, requestTimeoutMs: 2_000 }),
  async setPassword(username, password) {
    await fleet.setPassword(username, password);
    await mayDoAll(username);
  },
});

describe('rights on Kafka', () => {
  it('a publisher without the right to read groups publishes at once, and a warning says what it could not do', async () => {
    const user = `publisher-${randomUUID()}`;
    await fleet.setPassword(user, 'secret-p');
    const name = `trap-${randomUUID()}`;
    const operations = [AclOperationTypes.WRITE, AclOperationTypes.CREATE, AclOperationTypes.DESCRIBE_CONFIGS];
    await admin.createAcls({ acl: operations.map((operation) => acl(user, TOPIC, name, operation)) });
    const warnings: string[] = [];
    await using client = await connect({
      adapter: kafka({ brokers: fleet.proxy.url, sasl: scram(user, 'secret-p')! }),
    });
    client.on('warning', ({ code }) => warnings.push(code));
    await client.publish(defineTopic<string>(name, { groups: { g: {} } }), 'x', { timeoutMs: 8_000 });
    expect(warnings).toContain('group-start');
  }, 90_000);

  it('Trap 14: a consumer that kafkajs gives up, its rights being taken, is red meanwhile and replaced when it has them again', async () => {
    const user = `consumer-${randomUUID()}`;
    await fleet.setPassword(user, 'secret-c');
    await mayDoAll(user);
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
    await using publisher = await connect({ adapter: kafka({ brokers: fleet.server.url }) });
    await using client = await connect({
      adapter: kafka({ brokers: fleet.proxy.url, sasl: scram(user, 'secret-c')! }),
    });
    const handled = new Set<string>();
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.add(id));
    await publisher.publish(topic, 'x', { id: 'before' });
    await until('it is handled', () => handled.has('before'));

    const group = acl(user, GROUP, '*');
    await admin.deleteAcls({ filters: [{ ...group, resourcePatternType: ResourcePatternTypes.ANY }] });
    const red = async (): Promise<string | undefined> =>
      (await client.health()).checks.find(({ name, ok }) => !ok && name.startsWith('consumer'))?.detail;
    await until('health is red, and says why', async () => /authoriz/i.test((await red()) ?? ''));
    await publisher.publish(topic, 'x', { id: 'meanwhile' });
    await admin.createAcls({ acl: [group] });
    await until('it handles again', () => handled.has('meanwhile'));
    await until('health is green', async () => (await client.health()).ready);
  }, 90_000);
});

describe('logins on Kafka', () => {
  it('Trap 48: a function that gives the login is asked for each connection, so a rotated password needs no restart', async () => {
    await fleet.setPassword('renewed', 'first-secret');
    await mayDoAll('renewed');
    let password = 'first-secret';
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
    await using client = await connect({
      adapter: kafka({ brokers: fleet.proxy.url, sasl: async () => scram('renewed', password) as never }),
    });
    const handled = new Set<string>();
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.add(id));
    await client.publish(topic, 'x', { id: 'before' });
    await until('it is handled', () => handled.has('before'));
    await fleet.setPassword('renewed', 'second-secret');
    fleet.proxy.reset();
    await until('health is red', async () => !(await client.health()).ready);
    password = 'second-secret';
    await until('it publishes again', () =>
      client.publish(topic, 'x', { id: 'after', timeoutMs: 1_500 }).then(
        () => true,
        () => false,
      ),
    );
    await until('it handles again', () => handled.has('after'));
  });

  it('over TLS, to a broker whose certificate is known; another is refused', async () => {
    const options = {
      brokers: fleet.secureUrl,
      sasl: { mechanism: 'plain', username: 'plain', password: 'plain-secret' },
    } as const;
    await mayDoAll('plain');
    await using client = await connect({ adapter: kafka({ ...options, ssl: { ca: fleet.authority } }) });
    const topic = defineTopic<string>(`trap-${randomUUID()}`, { groups: { g: {} } });
    const handled = new Set<string>();
    await client.consume(topic, { group: 'g' }, ({ id }) => void handled.add(id));
    await client.publish(topic, 'x', { id: 'secret' });
    await until('it is handled', () => handled.has('secret'));
    const stranger = connect({ adapter: kafka({ ...options, ssl: true }) });
    await expect(stranger).rejects.toThrow(/certificate/i);
    await expect(stranger).rejects.not.toThrow(/plain-secret/);
  });
});
