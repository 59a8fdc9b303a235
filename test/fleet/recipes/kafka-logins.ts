import { execFile } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startServer } from '../index.ts';
import { freePorts } from '../ports.ts';
import { type FaultProxy, startProxy } from '../proxy.ts';
import type { Server } from '../server.ts';

/** A Kafka broker of our own that asks for logins and knows who may do what. */
export interface KafkaWithLogins {
  /** `server.url` asks for nothing: whoever comes there may do everything. */
  readonly server: Server;
  /** Before a listener that asks for a login, by SCRAM (`setPassword`) or PLAIN (`plain`, `plain-secret`). */
  readonly proxy: FaultProxy;
  /** `host:port` of one that speaks TLS besides, with a certificate signed by `authority`. */
  readonly secureUrl: string;
  readonly authority: string;
  /** Creates a user, or gives it another password. */
  setPassword(username: string, password: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startKafkaWithLogins(): Promise<KafkaWithLogins> {
  const [plain, advertised, secure] = await freePorts(3);
  const { certificate, key } = await selfSigned();
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  const logins = (listener: string): Record<string, string> => ({
    [`listener.name.${listener}.sasl.enabled.mechanisms`]: 'SCRAM-SHA-256,PLAIN',
    [`listener.name.${listener}.scram-sha-256.sasl.jaas.config`]: scram,
    [`listener.name.${listener}.plain.sasl.jaas.config`]:
      'org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="plain-secret";',
  });
  const server = await startServer('kafka', {
    own: true,
    listeners: [
      { port: plain!, advertisedPort: advertised! },
      { port: secure!, advertisedPort: secure! },
    ],
    config: {
      'listener.security.protocol.map':
        'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED0:SASL_PLAINTEXT,PROXIED1:SASL_SSL',
      ...logins('proxied0'),
      ...logins('proxied1'),
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.certificate.chain': oneLine(certificate),
      'ssl.keystore.key': oneLine(key),
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:ANONYMOUS',
    },
  });
  const proxy = await startProxy({ target: `kafka://127.0.0.1:${plain}`, port: advertised! });
  return {
    server,
    proxy,
    secureUrl: `127.0.0.1:${secure}`,
    authority: certificate,
    setPassword: (username, password) =>
      setPassword(new URL(server.url.replace('kafka:', 'http:')), username, password),
    async stop() {
      await proxy.stop();
      await server.stop();
    },
  };
}

const oneLine = (pem: string): string => pem.trim().replaceAll('\n', '\\n');

async function selfSigned(): Promise<{ certificate: string; key: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-kafka-tls-'));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const made = ['-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate];
  await promisify(execFile)('openssl', ['req', '-x509', ...made, ...subject]);
  const texts = { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') };
  await rm(folder, { recursive: true });
  return texts;
}

const SCRAM_SHA_256 = 1;
const ITERATIONS = 4096;

/** AlterUserScramCredentials (key 51, version 0), which kafkajs does not know. */
async function setPassword({ hostname, port }: URL, username: string, password: string): Promise<void> {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256');
  const int32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value);
    return bytes;
  };
  // Lengths of compact fields are one more than they are, and all of ours fit into one byte; tagged fields are none.
  const compact = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length + 1]), bytes]);
  const none = Buffer.from([0]);
  const header = Buffer.concat([Buffer.from([0, 51, 0, 0]), int32(1), Buffer.from([255, 255]), none]);
  const upsertion = [
    compact(Buffer.from(username)),
    Buffer.from([SCRAM_SHA_256]),
    int32(ITERATIONS),
    compact(salt),
    compact(salted),
    none,
  ];
  const request = Buffer.concat([header, Buffer.from([1]), Buffer.from([2]), ...upsertion, none]);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write(Buffer.concat([int32(request.length), request]));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  // Length, correlation, tags, throttle time, one result: its user, then its error code.
  const at = 4 + 4 + 1 + 4 + 1;
  const code = answer.readInt16BE(at + answer[at]!);
  if (code !== 0) throw new Error(`Kafka did not set the password of ${username}: error ${code}`);
}
