import { renameSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestCase, TestModule, TestSpecification, TestSuite } from 'vitest/node';

/** What one run of vitest came to. */
interface RunSummary {
  passed: number;
  /** Failed tests, failed files and hooks, errors that belong to no test, and files that did not run to their end. */
  failed: number;
  /** One line for each file that did not run to its end, because the run was stopped. */
  missed: string[];
  /** One line for each test that did not run: its file, its name and the reason. */
  skipped: string[];
  /** One line for each test that failed and then passed when it was tried again: it depends on time, and wants mending. */
  unsteady: string[];
}

type UnhandledErrors = Parameters<NonNullable<Reporter['onTestRunEnd']>>[1];

/**
 * Ends a run with the unsteady tests, the reason of every skip and the line `N passed, N failed, N skipped`. When `summaryFile` is given it
 * writes the same there instead, counts first, for a caller that adds up several runs. That file is written anew for each test file: what
 * a run that is stopped leaves has the results until then, and counts as failed, by name, what did not run to its end.
 */
export class SummaryReporter implements Reporter {
  readonly #summaryFile: string | undefined;
  readonly #begun = new Set<string>();
  #waiting = new Set<string>();
  #ended = emptySummary();

  constructor(summaryFile = process.env.RAFTER_TEST_SUMMARY) {
    this.#summaryFile = summaryFile;
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#waiting = new Set(
      specifications.map(({ project, moduleId }) => relative(project.config.root, moduleId)),
    );
    this.#begun.clear();
    this.#ended = emptySummary();
    if (this.#waiting.size > 0) this.#saveUnfinished();
  }

  onTestModuleStart(module: TestModule): void {
    this.#waiting.delete(module.relativeModuleId);
    this.#begun.add(module.relativeModuleId);
    this.#saveUnfinished();
  }

  onTestModuleEnd(module: TestModule): void {
    this.#waiting.delete(module.relativeModuleId);
    this.#begun.delete(module.relativeModuleId);
    addModule(this.#ended, module);
    this.#saveUnfinished();
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: UnhandledErrors): void {
    const summary = emptySummary();
    summary.failed = unhandledErrors.length;
    for (const module of modules) addModule(summary, module);
    if (this.#summaryFile) this.#save(summary);
    else process.stdout.write(formatSummary(summary));
  }

  #saveUnfinished(): void {
    if (!this.#summaryFile) return;
    const missed = [
      ...[...this.#begun].map((file) => `failed: ${file}: stopped before its end`),
      ...[...this.#waiting].map((file) => `failed: ${file}: did not run`),
    ];
    this.#save({ ...this.#ended, failed: this.#ended.failed + missed.length, missed });
  }

  /** Whole or not at all: the process may be killed at any time. */
  #save({ passed, failed, skipped, unsteady, missed }: RunSummary): void {
    const lines = [`${passed} ${failed} ${skipped.length}`, ...unsteady, ...skipped, ...missed];
    writeFileSync(`${this.#summaryFile}.part`, `${lines.join('\n')}\n`);
    renameSync(`${this.#summaryFile}.part`, this.#summaryFile!);
  }
}

const emptySummary = (): RunSummary => ({ passed: 0, failed: 0, missed: [], skipped: [], unsteady: [] });

function addModule(summary: RunSummary, module: TestModule): void {
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
