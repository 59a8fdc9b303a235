import { createRequire } from 'node:module';
import type { Authenticator, Mechanism, SASLOptions } from 'kafkajs';
import { messageOf } from '../errors.ts';
import type { Login } from '../options.ts';

type Provider = Mechanism['authenticationProvider'];

/** kafkajs's own, by mechanism (src/broker/saslAuthenticator). */
const files: Readonly<Record<string, string>> = {
  plain: 'plain',
  'scram-sha-256': 'scram256',
  'scram-sha-512': 'scram512',
  aws: 'awsIam',
  oauthbearer: 'oauthBearer',
};

/**
 * A login as kafkajs takes it. One that is given by a function is asked for again for each connection and each time the
 * broker wants a new proof of it; its mechanism is that of the first answer.
 */
export async function loginOf(login: Login | undefined): Promise<SASLOptions | Mechanism | undefined> {
  if (typeof login !== 'function') {
    // A copy, because kafkajs keeps something of its own in it.
    return login === undefined ? undefined : { ...login };
  }
  const { mechanism } = await ask(login);
  return {
    mechanism,
    authenticationProvider: (given) => ({
      async authenticate() {
        await providerOf(await ask(login), mechanism)(given).authenticate();
      },
    }),
  };
}

async function ask(login: Extract<Login, () => unknown>): Promise<SASLOptions> {
  try {
    return await login();
  } catch (error) {
    const message = `the function given as \`sasl\` failed: ${messageOf(error)}`;
    throw Object.assign(new Error(message, { cause: error }), { retriable: true });
  }
}

function providerOf(login: SASLOptions, mechanism: string): (given: Parameters<Provider>[0]) => Authenticator {
  if (login.mechanism !== mechanism)
    throw new Error(`the function given as \`sasl\` went from ${mechanism} to ${login.mechanism}`);
  const file = files[mechanism.toLowerCase()];
  if (file === undefined) throw new Error(`kafkajs has no SASL mechanism ${mechanism}`);
  const load = createRequire(import.meta.url);
  const make = load(`kafkajs/src/broker/saslAuthenticator/${file}.js`) as (login: SASLOptions) => Provider;
  return make(login);
}
