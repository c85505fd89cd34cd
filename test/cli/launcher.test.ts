import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HEAP_FLAGS } from '../../src/cli/daemon-place.js';

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

/** Where the bytecode of main.js is for this version of Node.js. */
const bytecode = () => join(dir, `dist/bundle/bytecode/${process.version}-${process.arch}/main.js`);

/** Stores for the bundle's main.js bytecode of another program, as long as it, which prints `name`. */
function storeBytecode(name: string): void {
  const file = bytecode();
  mkdirSync(dirname(file), { recursive: true });
  const source = readFileSync(join(dir, 'dist/bundle/main.js'), 'utf8').replace('bundle', name);
  const script = `const bytes = new vm.Script(Module.wrap(${JSON.stringify(source)})).createCachedData();
    fs.writeFileSync(${JSON.stringify(file)}, bytes);`;
  execFileSync(process.execPath, ['-e', `const { Module } = module.constructor; ${script}`]);
}

it('runs bytecode that the build made of the bundle, also under the flags of a daemon, which keep their effect', () => {
  bundle(0);
  storeBytecode('ready!');
  expect(rafter().toString()).toBe('ready! a b\n');
  const daemon = (program = 'bundle') => {
    writeFileSync(join(dir, 'dist/bundle/main.js'), program);
    return execFileSync(process.execPath, [...HEAP_FLAGS, join(dir, 'bin/rafter'), 'a', 'b']).toString();
  };
  expect(daemon(readFileSync(join(dir, 'dist/bundle/main.js'), 'utf8'))).toBe('ready! a b\n');
  const heap = daemon(`const keep = [];
    for (let i = 0; i < 1e6; i++) keep[i % 1000] = [i];
    const { space_size } = require('node:v8').getHeapSpaceStatistics().find((one) => one.space_name === 'new_space');
    console.log(typeof gc, space_size);`);
  // Two halves.
  expect(heap).toBe(`function ${2 << 20}\n`);
});

it('runs the source where bytecode is cut, or made of another source or under other flags', () => {
  bundle(0);
  storeBytecode('longer name');
  expect(rafter().toString()).toBe('bundle a b\n');
  storeBytecode('ready!');
  truncateSync(bytecode(), statSync(bytecode()).size - 8);
  expect(rafter().toString()).toBe('bundle a b\n');
  storeBytecode('ready!');
  const flagged = ['--no-opt', join(dir, 'bin/rafter'), 'a', 'b'];
  expect(execFileSync(process.execPath, flagged).toString()).toBe('bundle a b\n');
});

it('loads a file of the bundle once, knows where it is, and tries one again that has failed', () => {
  bundle(0);
  writeFileSync(
    join(dir, 'dist/bundle/main.js'),
    `const part = require('./part.js');
     let failed;
     try { require('./bad.js'); } catch (error) { failed = error.message; }
     globalThis.good = true;
     console.log(part === require('./part.js'), part.file, __filename, failed, require('./bad.js').good);`,
  );
  writeFileSync(join(dir, 'dist/bundle/part.js'), 'module.exports = { file: __filename };');
  writeFileSync(
    join(dir, 'dist/bundle/bad.js'),
    "if (!globalThis.good) throw new Error('bad'); exports.good = true;",
  );
  const at = (name: string) => join(realpathSync(dir), 'dist/bundle', name);
  expect(rafter().toString()).toBe(`true ${at('part.js')} ${at('main.js')} bad true\n`);
});

it('says how to build a checkout that is not built', () => {
  expect(rafter).toThrow('hint: npm ci && npm run build');
});
