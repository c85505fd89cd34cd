import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { chmod, mkdir, open, rm, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountImage } from '../../src/mount/client.js';
import { random } from '../support/mutate.js';
import { readTree, type Tree } from '../support/tree.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

const DRIVERS = [
  { name: 'erofs', driver: 'erofs' },
  { name: 'fuse, device', driver: 'fuse', transport: 'device' },
  { name: 'fuse, libfuse', driver: 'fuse', transport: 'libfuse' },
] as const;

/** docs/drivers.md says where the drivers differ; this is what they have in common. */
describe.skipIf(process.geteuid?.() !== 0).each(DRIVERS)(
  'a tree through $name',
  ({ name: _name, ...how }) => {
    let place: TestPlace;
    let root: string;
    const expected: Tree = expectedTree('small');
    /** The largest file. */
    let file: string;
    let size: number;

    beforeAll(async () => {
      place = createPlace();
      await writeGoldenLayout('small', join(place.dir, 'image'));
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

    it('says what kind of file system it is', async () => {
      const { bfree, bavail, bsize } = await statfs(root);
      expect([bfree, bavail, bsize]).toEqual([0, 0, 4096]);
    });
  },
);
