import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, TestSuite } from 'vitest/node';

/** What one run of vitest came to. */
interface RunSummary {
  passed: number;
  /** Failed tests, failed files and hooks, and errors that belong to no test. */
  failed: number;
  /** One line for each test that did not run: its file, its name and the reason. */
  skipped: string[];
  /** One line for each test that failed and then passed when it was tried again: it depends on time, and wants mending. */
  unsteady: string[];
}

type UnhandledErrors = Parameters<NonNullable<Reporter['onTestRunEnd']>>[1];

/**
 * Ends a run with the unsteady tests, the reason of every skip and the line `N passed, N failed, N skipped`. When `summaryFile` is given it
 * writes the same there instead, counts first, for a caller that adds up several runs.
 */
export class SummaryReporter implements Reporter {
  readonly #summaryFile: string | undefined;

  constructor(summaryFile = process.env.RAFTER_TEST_SUMMARY) {
    this.#summaryFile = summaryFile;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: UnhandledErrors): void {
    const summary = summarize(modules, unhandledErrors.length);
    const { passed, failed, skipped, unsteady } = summary;
    const counts = `${passed} ${failed} ${skipped.length}`;
    if (this.#summaryFile)
      writeFileSync(this.#summaryFile, `${[counts, ...unsteady, ...skipped].join('\n')}\n`);
    else process.stdout.write(formatSummary(summary));
  }
}

/** Adds up the modules of a finished run. */
function summarize(modules: readonly TestModule[], unhandledErrors: number): RunSummary {
  const summary: RunSummary = { passed: 0, failed: unhandledErrors, skipped: [], unsteady: [] };
  for (const module of modules) {
    const suites: (TestModule | TestSuite)[] = [module, ...module.children.allSuites()];
    // A file that cannot be loaded and a hook of a whole suite fail without failing a test.
    summary.failed += suites.filter((suite) => suite.errors().length > 0).length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') summary.passed++;
      else if (state === 'skipped') summary.skipped.push(describeSkip(module, test));
      else summary.failed++; // failed, or never finished
      if (test.diagnostic()?.flaky)
        summary.unsteady.push(
          `unsteady, passed at the second try: ${module.relativeModuleId} > ${test.fullName}`,
        );
    }
  }
  return summary;
}

function describeSkip(module: TestModule, test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' ? result.note : undefined;
  return `skipped: ${module.relativeModuleId} > ${test.fullName}: ${note ?? defaultReason(test)}`;
}

function defaultReason(test: TestCase): string {
  for (let at: TestCase | TestSuite | TestModule = test; ; at = at.parent) {
    if (at.type !== 'test' && at.errors().length > 0) return 'its setup failed';
    if (at.type === 'module') break;
  }
  return test.options.mode === 'run' ? 'no reason given' : `marked '${test.options.mode}' in the source`;
}

function formatSummary({ passed, failed, skipped, unsteady }: RunSummary): string {
  return `${[...unsteady, ...skipped, `${passed} passed, ${failed} failed, ${skipped.length} skipped`].join('\n')}\n`;
}
