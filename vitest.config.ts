import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Names in test/adapters of what `npm test -- --only memory,redis` may leave out; see test/run.ts. */
const excluded = (process.env.HOLDFAST_TEST_EXCLUDE ?? '').split(',').filter((pattern) => pattern !== '');

const config: ViteUserConfig = defineConfig({
  // `holdfast` and its subpaths mean the sources, in this process and in the workers.
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['node_modules/**', 'dist/**', ...excluded],
    pool: 'forks',
    execArgv: ['--conditions', 'source'],
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});

export default config;
