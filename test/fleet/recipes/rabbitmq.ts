import { answers } from '../probe.ts';
import { lines, type Recipe } from '../recipe.ts';

const greeting = Buffer.from([...Buffer.from('AMQP'), 0, 0, 9, 1]);
const methodFrame = 1;

/**
 * All of version 4.0's that are not required, and the one that is off by default until version 4.2: Khepri. Other versions
 * turn on what they have: 3.10 knows no Khepri, 4.3 knows nothing else.
 *
 * Without it the queues themselves are kept in Mnesia, which writes the last word on a declaration to disk after it was
 * confirmed: of nodes killed right after it, about one in fifteen had lost the queue and its confirmed messages.
 */
const featureFlags = [
  'detailed_queues_endpoint',
  'khepri_db',
  'message_containers_deaths_v2',
  'quorum_queue_non_voters',
  'rabbit_exchange_type_local_random',
  'rabbitmq_4.0.0',
];

export const rabbitmq: Recipe = {
  ports: 4,
  user: 'rabbitmq',
  stopSignal: 'SIGTERM',
  launch: ({ version, data, ports: [amqp, management, distribution, epmd], config }) => {
    const settings = {
      'listeners.tcp.1': `127.0.0.1:${amqp}`,
      'management.tcp.ip': '127.0.0.1',
      'management.tcp.port': String(management),
      'log.console': 'true',
      'log.file': 'false',
      // Small and absolute: nodes side by side would each claim most of the machine otherwise.
      'vm_memory_high_watermark.absolute': '1GB',
      'disk_free_limit.absolute': '500MB',
      ...config,
    };
    return {
      url: `amqp://guest:guest@127.0.0.1:${amqp}`,
      managementUrl: `http://guest:guest@127.0.0.1:${management}`,
      files: {
        'rabbitmq.conf': lines(settings, ' = '),
        enabled_plugins: '[rabbitmq_management].\n',
        '.erlang.cookie': 'HOLDFASTFLEET',
      },
      env: {
        RABBITMQ_NODENAME: `fleet${amqp}@localhost`,
        RABBITMQ_MNESIA_BASE: `${data}/mnesia`,
        RABBITMQ_LOG_BASE: `${data}/log`,
        RABBITMQ_CONFIG_FILE: `${data}/rabbitmq.conf`,
        RABBITMQ_CONF_ENV_FILE: `${data}/none`,
        RABBITMQ_ENABLED_PLUGINS_FILE: `${data}/enabled_plugins`,
        ...(/^4\.[01]\./.test(version) && { RABBITMQ_FEATURE_FLAGS: featureFlags.join(',') }),
        RABBITMQ_DIST_PORT: String(distribution),
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
        ERL_EPMD_ADDRESS: '127.0.0.1',
        ERL_EPMD_PORT: String(epmd),
        // Makes the script become the Erlang VM instead of waiting for one: signals and `pid` mean the broker itself.
        RUNNING_UNDER_SYSTEMD: '1',
      },
      // Below Debian's wrapper of the same name in /usr/sbin, which wants to change the user itself.
      script: 'chmod 600 .erlang.cookie; exec /usr/lib/rabbitmq/bin/rabbitmq-server',
      isReady: async (log) =>
        log.includes('Server startup complete') &&
        (await answers(amqp!, greeting, (answer) => answer[0] === methodFrame)),
    };
  },
};
