import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';

const home = resolve(import.meta.dirname, '../..');
// Inside the checkout, so that the inner tests find vitest.
mkdirSync(join(home, '.cache'), { recursive: true });
const directory = mkdtempSync(join(home, '.cache/reporter-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

writeFileSync(
  join(directory, 'vitest.config.ts'),
  `import { SummaryReporter } from '../../test/support/summary-reporter.js';
   export default { test: { include: ['*.test.ts'], reporters: ['default', new SummaryReporter()] } };`,
);

/** Runs vitest over one file with this text. */
function run(text: string, env: Record<string, string> = {}) {
  const file = join(directory, 'inner.test.ts');
  writeFileSync(file, `import { beforeAll, describe, expect, it } from 'vitest';\n${text}`);
  const { RAFTER_TEST_SUMMARY: _, ...inherited } = process.env;
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(home, 'node_modules/vitest/vitest.mjs'), 'run', '--root', directory],
    { env: { ...inherited, NO_COLOR: '1', ...env }, encoding: 'utf8' },
  );
  return { status, lines: stdout.trimEnd().split('\n') };
}

it('ends with the reason of every skip and the counts', () => {
  const { status, lines } = run(`
    it('passes', () => {});
    it('asks for a tool', (ctx) => ctx.skip('not installed: widget'));
    it.skip('is off', () => {});
    describe('group', () => { it('is without a reason', (ctx) => ctx.skip()); });
  `);
  expect(lines.slice(-4)).toEqual([
    'skipped: inner.test.ts > asks for a tool: not installed: widget',
    "skipped: inner.test.ts > is off: marked 'skip' in the source",
    'skipped: inner.test.ts > group > is without a reason: no reason given',
    '1 passed, 0 failed, 3 skipped',
  ]);
  expect(status).toBe(0);
});

it('counts a failed hook, and says of the tests behind it that they did not run', () => {
  const { status, lines } = run(`
    describe('group', () => {
      beforeAll(() => { throw new Error('no server'); });
      it('one', () => {});
    });
    it('fails', () => expect(1).toBe(2));
  `);
  expect(lines.slice(-2)).toEqual([
    'skipped: inner.test.ts > group > one: its setup failed',
    '0 passed, 2 failed, 1 skipped',
  ]);
  expect(status).not.toBe(0);
});

it('counts a file that cannot be loaded and an error outside of all tests', () => {
  expect(run(`throw new Error('at load');`).lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped');
  const { lines } = run(`it('passes', async () => {
    setTimeout(() => { throw new Error('astray'); }, 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
  });`);
  expect(lines.at(-1)).toBe('1 passed, 1 failed, 0 skipped');
});

it('names a test that passed only at the second try', () => {
  const { status, lines } = run(`
    let tries = 0;
    it('passes at last', { retry: 1 }, () => expect(++tries).toBe(2));
    it('never passes', { retry: 1 }, () => expect(1).toBe(2));
  `);
  expect(lines.slice(-2)).toEqual([
    'unsteady, passed at the second try: inner.test.ts > passes at last',
    '1 passed, 1 failed, 0 skipped',
  ]);
  expect(status).not.toBe(0);
});

it('writes counts and reasons into a file instead when it is given one', () => {
  const summary = join(directory, 'summary');
  const { lines } = run(
    `it('passes', () => {});
     it('asks', (ctx) => ctx.skip('why'));`,
    { RAFTER_TEST_SUMMARY: summary },
  );
  expect(readFileSync(summary, 'utf8')).toBe('1 0 1\nskipped: inner.test.ts > asks: why\n');
  expect(lines.join('\n')).not.toContain('1 passed, 0 failed, 1 skipped');
});

it('leaves what a run came to that is killed, and counts and names the files that did not run to their end', async () => {
  const summary = join(directory, 'killed');
  // The largest file runs first.
  const files = {
    'killed-1.test.ts': `it('passes', () => {}); it('fails', () => expect(1).toBe(2)); // ${'.'.repeat(4000)}`,
    'killed-2.test.ts': `it('hangs', { timeout: 0 }, () => {
       process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
       return new Promise(() => {});
     }); // ${'.'.repeat(2000)}`,
    'killed-3.test.ts': `it('never runs', () => {});`,
  };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(directory, name), `import { expect, it } from 'vitest';\n${text}`);
  const child = spawn(
    process.execPath,
    [
      join(home, 'node_modules/vitest/vitest.mjs'),
      ...['run', '--root', directory, '--pool', 'forks', '--no-file-parallelism', 'killed'],
    ],
    { env: { ...process.env, RAFTER_TEST_SUMMARY: summary }, stdio: 'ignore' },
  );
  try {
    const hangs = /^1 .*killed-2\.test\.ts: stopped/s;
    await vi.waitFor(() => expect(readFileSync(summary, 'utf8')).toMatch(hangs), { timeout: 60_000 });
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (const name of Object.keys(files)) rmSync(join(directory, name));
  }
  const [counts, ...lines] = readFileSync(summary, 'utf8').trim().split('\n');
  expect(counts).toBe('1 3 0');
  expect(lines).toEqual([
    'failed: killed-2.test.ts: stopped before its end',
    'failed: killed-3.test.ts: did not run',
  ]);
});
