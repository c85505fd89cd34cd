import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { findMount } from '../../src/os/mountinfo.js';
import { missingPrograms } from '../support/programs.js';

const checkout = resolve(import.meta.dirname, '../..');
const NOBODY = 65534;

/** Serves one file, reads it, unmounts; prints what it saw. Run from a directory in which `checkout` is this checkout. */
const program = `
import { mountLibfuse } from './checkout/dist/fuse/libfuse.js';
import { readdir, readFile } from 'node:fs/promises';
const keepAlive = setInterval(() => {}, 1000);
const attributes = (node) => ({ node, mode: node === 1 ? 0o40755 : 0o100600, nlink: 1, uid: 0, gid: 0, size: 3, mtimeSec: 0, mtimeNsec: 0 });
const fs = {
  root: 1,
  lookup: () => 2,
  getattr: attributes,
  *readdir() { yield { name: Buffer.from('f'), node: 2, mode: 0o100000 }; },
  readlink: () => Buffer.from('f'),
  read: async (_node, offset, target) => target.write('abc'.slice(offset)),
  getxattr: () => Buffer.from('x'),
  listxattr: () => [],
  statfs: () => ({ blockSize: 4096, blocks: 1, files: 1, nameMax: 255 }),
};
const mount = await mountLibfuse(fs, process.argv[2]);
const entry = (await readFile('/proc/self/mountinfo', 'utf8')).split('\\n').find((line) => line.includes(' ' + process.argv[2] + ' '));
console.log(process.geteuid(), await readdir(process.argv[2]), await readFile(process.argv[2] + '/f', 'utf8'), entry);
await mount.unmount();
await mount.ended;
console.log('unmounted');
clearInterval(keepAlive);
`;

it('lets a user without root mount, read his own mount and unmount it', async (ctx) => {
  const missing = missingPrograms('unshare', 'setpriv', 'fusermount3');
  if (missing) ctx.skip(missing);
  const dir = await mkdtemp(join(tmpdir(), 'rafter-user-'));
  try {
    const point = join(dir, 'm');
    await mkdir(point);
    await mkdir(join(dir, 'dev'));
    await mkdir(join(dir, 'checkout'));
    await chmod(dir, 0o755);
    await chown(point, NOBODY, NOBODY);
    await writeFile(join(dir, 'serve.mjs'), program, { mode: 0o644 });
    // Not every machine lets users open /dev/fuse as Debian does, so the program sees one of its own that does. And a
    // checkout may stand where other users cannot look, such as root's home.
    const script = `
      mount --bind "$3" "$1/checkout" &&
      mount -t tmpfs none "$1/dev" && mknod -m 666 "$1/dev/fuse" c 10 229 && mount --bind "$1/dev/fuse" /dev/fuse &&
      exec setpriv --reuid ${NOBODY} --clear-groups "$2" "$1/serve.mjs" "$1/m"`;
    const run = promisify(execFile)('unshare', [
      '-m',
      'sh',
      '-c',
      script,
      'sh',
      dir,
      process.execPath,
      checkout,
    ]);
    const { stdout } = await run;
    expect(stdout).toContain("65534 [ 'f' ] abc");
    expect(stdout).toMatch(/nosuid,nodev.*user_id=65534/);
    expect(stdout).toMatch(/unmounted\n$/);
    expect(await findMount(point)).toBeUndefined();
  } finally {
    await rm(dir, { recursive: true });
  }
});
