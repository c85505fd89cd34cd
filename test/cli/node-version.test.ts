import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const checkout = resolve(import.meta.dirname, '../..');
const golden = `oci:${checkout}/fixtures/golden/oci/tiny-src:latest`;
const dir = mkdtempSync(join(tmpdir(), 'rafter-node-version-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it(`converts, checks and copies an image with Node.js ${process.version}, which has nothing to complain of`, (ctx) => {
  if (!existsSync(join(checkout, 'dist/bundle/main.js'))) ctx.skip('needs npm run build');
  const rafter = (...args: string[]) => {
    const run = [join(checkout, 'bin/rafter'), ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, run, { cwd: dir, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout;
  };
  rafter('convert', '--quiet', '--data-root', join(dir, 'data'), golden, 'oci:images:lazy');
  expect(rafter('check', '--quiet', 'oci:images:lazy', '--source', golden)).toContain(': good');
  rafter('copy', '--quiet', 'oci:images:lazy', 'oci-archive:image.tar:lazy');
});
