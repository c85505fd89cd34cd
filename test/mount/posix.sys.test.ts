import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { chmod, mkdir, open, rm, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import koffi from 'koffi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountImage } from '../../src/mount/client/client.js';
import { random } from '../support/mutate.js';
import { missingPrograms } from '../support/programs.js';
import { readTree, type Tree } from '../support/tree.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

const DRIVERS = [
  { name: 'erofs', driver: 'erofs' },
  { name: 'erofs on loop devices', driver: 'erofs', backing: 'loop' },
  { name: 'fuse, device', driver: 'fuse', transport: 'device' },
  { name: 'fuse, libfuse', driver: 'fuse', transport: 'libfuse' },
] as const;

/** From the C library's headers: mmap(2). */
const PROT_READ = 1;
const [MAP_SHARED, MAP_PRIVATE] = [1, 2];

/** Maps `size` bytes of a file and copies them. */
function mappedBytes(): (fd: number, size: number, flags: number) => Buffer {
  const library = koffi.load('libc.so.6');
  const [size_t, pointer] = ['size_t', 'uintptr_t'];
  const mmap = library.func('mmap', pointer, [pointer, size_t, 'int', 'int', 'int', 'int64_t']);
  const munmap = library.func('munmap', 'int', [pointer, size_t]);
  const memcpy = library.func('memcpy', pointer, ['void *', pointer, size_t]);
  return (fd, size, flags) => {
    const address = mmap(0, size, PROT_READ, flags, fd, 0);
    const bytes = Buffer.alloc(size);
    memcpy(bytes, address, size);
    munmap(address, size);
    return bytes;
  };
}

/** docs/drivers.md says where the drivers differ; this is what they have in common. */
describe.skipIf(process.geteuid?.() !== 0).each(DRIVERS)(
  'a tree through $name',
  ({ name: _name, ...how }) => {
    let place: TestPlace;
    let root: string;
    const expected: Tree = expectedTree('full');
    /** The largest file. */
    let file: string;
    let size: number;

    beforeAll(async () => {
      place = createPlace();
      await writeGoldenLayout('full', join(place.dir, 'image'));
      root = await place.mountpoint('mnt');
      await mountImage(place, { reference: `oci:${place.dir}/image:latest`, mountpoint: root, ...how });
      const files = [...expected].filter(([, { type }]) => type === 'file');
      const [path, entry] = files.sort(([, a], [, b]) => Number(b.size) - Number(a.size))[0]!;
      file = join(root, path);
      size = Number(entry.size);
    });

    afterAll(() => place?.remove());

    it('takes no change: EROFS for everything', async () => {
      const changes = {
        write: () => open(file, constants.O_WRONLY),
        create: () => open(join(root, 'new'), constants.O_WRONLY | constants.O_CREAT),
        mkdir: () => mkdir(join(root, 'new')),
        chmod: () => chmod(file, 0o600),
        utimes: () => utimes(file, 1, 1),
        unlink: () => rm(file),
      };
      for (const [what, change] of Object.entries(changes))
        await expect(change(), what).rejects.toMatchObject({ code: 'EROFS' });
    });

    it('gives every byte at any offset to 16 readers at once', async () => {
      const whole = (await readTree(root)).get(file.slice(root.length))!;
      expect(whole.sha256).toBe(expected.get(file.slice(root.length))!.sha256);
      const bytes = Buffer.alloc(size);
      const fd = openSync(file, 'r');
      readSync(fd, bytes, 0, size, 0);
      closeSync(fd);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(whole.sha256);
      await Promise.all(
        Array.from({ length: 16 }, async (_, reader) => {
          const next = random(reader + 1);
          const handle = await open(file, 'r');
          try {
            for (let i = 0; i < 30; i++) {
              const [at, length] = [next(size + 100), 1 + next(10_000)];
              const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, at);
              expect(buffer.subarray(0, bytesRead).equals(bytes.subarray(at, at + length))).toBe(true);
            }
          } finally {
            await handle.close();
          }
        }),
      );
    });

    it('lets another user read what the mode bits let him read', async (ctx) => {
      const missing = missingPrograms('setpriv');
      if (missing) ctx.skip(missing);
      await chmod(place.dir, 0o711);
      const asNobody = (path: string) => {
        const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
        return spawnSync('setpriv', [...user, 'cat', join(root, path)], { encoding: 'latin1' });
      };
      expect(expected.get('/ov/replaced-file')).toMatchObject({ mode: '0600', owner: '1000:1000' });
      for (const path of ['/ov/replaced-file', '/modes/none', '/ov/merged/from1']) {
        const { status, stdout, stderr } = asNobody(path);
        expect([status, stdout]).toEqual([1, '']);
        expect(stderr).toContain('Permission denied');
      }
      const { status, stdout } = asNobody('/links/hard1');
      expect([status, stdout.length]).toEqual([0, 19]);
    });

    it('can be mapped into memory, private and shared', () => {
      const read = mappedBytes();
      const fd = openSync(file, 'r');
      try {
        for (const flags of [MAP_SHARED, MAP_PRIVATE]) {
          const hash = createHash('sha256')
            .update(read(fd, size, flags))
            .digest('hex');
          expect(hash).toBe(expected.get(file.slice(root.length))!.sha256);
        }
      } finally {
        closeSync(fd);
      }
    });

    it('reads with O_DIRECT where docs/drivers.md says so', () => {
      const open = () => openSync(file, constants.O_RDONLY | constants.O_DIRECT);
      const { sha256 } = expected.get(file.slice(root.length))!;
      if ('backing' in how) {
        // As of every block device: whole blocks only, and dd's memory begins at a multiple of that, too.
        const { stdout } = spawnSync('dd', [`if=${file}`, 'iflag=direct', 'bs=64k'], { maxBuffer: 1 << 28 });
        expect(createHash('sha256').update(stdout).digest('hex')).toBe(sha256);
        return;
      }
      if (how.driver === 'erofs') {
        expect(open).toThrow('EINVAL');
        return;
      }
      const bytes = Buffer.alloc(size);
      const fd = open();
      for (let done = 0; done < size; )
        done += readSync(fd, bytes, done, Math.min(size - done, 300_000), done);
      closeSync(fd);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    });

    it('says what kind of file system it is', async () => {
      const { bfree, bavail, bsize } = await statfs(root);
      expect([bfree, bavail, bsize]).toEqual([0, 0, 4096]);
    });
  },
);
