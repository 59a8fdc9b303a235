import { answers } from '../probe.ts';
import { lines, type Recipe } from '../recipe.ts';

const protocolVersion = 10;

export const mariadb: Recipe = {
  ports: 1,
  user: 'mysql',
  stopSignal: 'SIGTERM',
  launch: ({ data, ports: [port], config }) => {
    const settings = {
      datadir: `${data}/db`,
      port: String(port),
      'bind-address': '127.0.0.1',
      socket: `${data}/mariadb.sock`,
      'skip-name-resolve': '1',
      'init-file': `${data}/init.sql`,
      'innodb-buffer-pool-size': '256M',
      'innodb-flush-log-at-trx-commit': '1',
      'log-bin': `${data}/binlog`,
      'server-id': '1',
      'binlog-format': 'ROW',
      'sync-binlog': '1',
      'max-connections': '200',
      ...config,
    };
    return {
      url: `mysql://lab:lab@127.0.0.1:${port}/lab`,
      files: {
        'my.cnf': `[mariadbd]\n${lines(settings, ' = ')}`,
        'init.sql': [
          'create database if not exists lab;',
          "create user if not exists lab@'127.0.0.1' identified by 'lab';",
          "grant all on *.* to lab@'127.0.0.1';\n",
        ].join('\n'),
      },
      // The marker comes last, so that a start which was cut short is done again from the beginning.
      script: `
        if [ ! -e created ]; then
          rm -rf db
          mariadb-install-db --no-defaults --datadir=${data}/db --auth-root-authentication-method=socket --skip-test-db
          touch created
        fi
        exec mariadbd --defaults-file=${data}/my.cnf`,
      // The port opens after init.sql was run; the greeting begins with length, sequence number and protocol version.
      isReady: () => answers(port!, '', (answer) => answer[4] === protocolVersion),
    };
  },
};
