import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { loadNative } from '../../src/os/native-package.js';

const require = createRequire(import.meta.url);
const dir = mkdtempSync(join(tmpdir(), 'rafter-native-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const { arch } = process;
const packages = [
  ['koffi', `@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`],
  ['lz4-napi', `@antoniomuso/lz4-napi-linux-${arch}-gnu`],
  ['@napi-rs/blake-hash', `@napi-rs/blake-hash-linux-${arch}-gnu`],
  ['@node-rs/crc32', `@node-rs/crc32-linux-${arch}-gnu`],
] as const;

it.each(packages)('takes of %s the code that its own loader takes', async (name, code) => {
  // In another process: here both may have been loaded already, in any order.
  const script = `
    const { createRequire } = require('node:module');
    const direct = createRequire(require.resolve('${name}'))('${code}');
    const file = Object.keys(require.cache).find((path) => path.endsWith('.node'));
    const whole = require('${name}');
    const same = Object.keys(whole).filter((key) => whole[key] === direct[key]);
    console.log(JSON.stringify({ file, same, codes: Object.keys(require.cache).filter((path) => path.endsWith('.node')) }));`;
  const cwd = join(import.meta.dirname, '../..');
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { cwd });
  const { file, same, codes } = JSON.parse(stdout) as { file: string; same: string[]; codes: string[] };
  expect(codes).toEqual([file]);
  expect(same).toEqual(
    expect.arrayContaining(
      Object.keys(require(name)).filter((key) => /crc|blake3$|Sync$|errno|decode/.test(key)),
    ),
  );
});

it('leaves it to the loader where that code is not installed', () => {
  const folder = join(dir, 'node_modules/some-native');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.js'), 'exports.who = "the loader";');
  expect(loadNative(join(folder, 'index.js'), 'some-native-linux-none')).toEqual({ who: 'the loader' });
  expect(() => loadNative('no-such-package', 'nor-this')).toThrow(/no-such-package/);
});
