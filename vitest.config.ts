import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { SummaryReporter } from './test/support/summary-reporter.js';

/** Files that take the longest, longest first: at the end of a run they would keep one worker busy and the other waiting. */
const LONGEST = [
  'e2e/main-job',
  'e2e/help-examples',
  'mount/daemon/daemon',
  'mount/startup/prefetch',
  'kill/',
  'cli/json',
  'mount/trace',
  'e2e/inspect',
  'run/run-image',
  'mount/writable',
  'cli/errors',
  'mount/daemon/service-manager',
  'mount/startup/completion',
  'e2e/chunk-dict',
  'e2e/interrupt',
  'mount/startup/startup-pack',
  'mount/attached-profile',
  'mount/disk-full',
  'mount/supervisor-death',
  'bench/',
  'mount/cache',
  'mount/registry',
  'transports/archives',
  'e2e/reference-image',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((name) => moduleId.includes(`/test/${name}`));
      return at < 0 ? LONGEST.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

const setupFiles = ['test/support/scratch-cleanup.ts'];

/** A test that passes only at the second try does not hold up everything else; the summary names it. */
const retry = 1;

/**
 * Folders of `unit` that have to do with Node.js itself: programs and threads that it starts, machine code that it loads, its files,
 * streams and HTTP.
 */
const VERSIONS = 'cache,cli,codec,fuse,image,os,registry,run';
/** What takes the longest there, and tells no more about a version than the rest. */
const NOT_VERSIONS = ['completion', 'quota/quota', 'random', 'fetch/read-ahead', 'recovery', 'store'];

/**
 * `unit`: fast, no mounts, no servers, files in parallel.
 * `system` (`*.sys.test.ts`): mounts, servers, containers; three files at a time, since they wait more than they work, so each has
 * directories and ports of its own. `versions`: what of `unit` is worth running with every version of Node.js that rafter supports,
 * in as little time as it can take. In forks: fuse-native ends the process when it is loaded in a worker thread.
 */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          retry,
          setupFiles,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.sys.test.ts'],
          pool: 'forks',
          // A process and its modules for each of 200 files would cost a third of all the processor time.
          isolate: false,
          // Vitest would leave a core to itself.
          maxWorkers: availableParallelism(),
          // Two cores may be shared with a build; a hang is still noticed.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'versions',
          retry,
          setupFiles,
          include: [`test/{${VERSIONS}}/**/*.test.ts`],
          exclude: ['test/**/*.sys.test.ts', ...NOT_VERSIONS.map((name) => `test/cache/${name}.test.ts`)],
          pool: 'forks',
          isolate: false,
          maxWorkers: availableParallelism(),
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'system',
          retry,
          setupFiles,
          include: ['test/**/*.sys.test.ts'],
          pool: 'forks',
          maxWorkers: 3,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
