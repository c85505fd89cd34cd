import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/support/summary-reporter.js';

/** A test that passes only at the second try does not hold up everything else; the summary names it. */
const retry = 1;

/**
 * `unit`: fast, no mounts, no servers, files in parallel.
 * `system` (`*.sys.test.ts`): mounts, servers, containers; two files at a time, since they wait more than they work, so each has
 * directories and ports of its own. In forks: fuse-native ends the process when it is loaded in a worker thread.
 */
export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          retry,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.sys.test.ts'],
          pool: 'forks',
          // Two cores may be shared with a build; a hang is still noticed.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'system',
          retry,
          include: ['test/**/*.sys.test.ts'],
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
