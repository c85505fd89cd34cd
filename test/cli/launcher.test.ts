import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const checkout = resolve(import.meta.dirname, '../..');
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-launcher #1%-'));
  for (const name of ['bin/rafter', 'bin/package.json', 'package.json'])
    cpSync(join(checkout, name), join(dir, name));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A program that prints its name, `name`, and its arguments, and was built `seconds` after another. */
function build(file: string, name: string, seconds: number): void {
  mkdirSync(dirname(join(dir, file)), { recursive: true });
  writeFileSync(join(dir, file), `console.log('${name}', process.argv.slice(2).join(' '));\n`);
  utimesSync(join(dir, file), 1_700_000_000 + seconds, 1_700_000_000 + seconds);
}
const bundle = (seconds: number) => {
  build('dist/bundle/main.js', 'bundle', seconds);
  writeFileSync(join(dir, 'dist/bundle/package.json'), '{ "type": "commonjs" }');
};
const modules = (seconds: number) => build('dist/cli/main.js', 'modules', seconds);
const rafter = () => execFileSync(process.execPath, [join(dir, 'bin/rafter'), 'a', 'b'], { stdio: 'pipe' });

it('runs the bundle that a package has', () => {
  bundle(0);
  expect(rafter().toString()).toBe('bundle a b\n');
});

it('runs the bundle of a checkout that was built as a whole', () => {
  modules(0);
  bundle(3);
  expect(rafter().toString()).toBe('bundle a b\n');
});

it('runs what was compiled after the bundle was made, or without one', () => {
  modules(3);
  expect(rafter().toString()).toBe('modules a b\n');
  bundle(0);
  expect(rafter().toString()).toBe('modules a b\n');
});

it('says how to build a checkout that is not built', () => {
  expect(rafter).toThrow('hint: npm ci && npm run build');
});
