import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { lstat, open, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { daemonStatus, mountImage, unmountImage } from '../../src/mount/client/client.js';
import { ensureDaemon } from '../../src/mount/client/start-daemon.js';
import { fuzzSeeds } from '../support/fuzz.js';
import { overwrite, placesOf, random } from '../support/mutate.js';
import { putTogether } from '../support/nydus-layout.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { golden, goldenBlobFile, goldenBootstrap } from './golden.js';
import {
  CHUNK,
  type SampleImage,
  sample,
  withChunkAt,
  withDamageAmongMany,
  withLoops,
  withManyNames,
  withSecondName,
  withSize,
} from './hostile-images.js';

const WAYS = [
  { name: 'erofs', driver: 'erofs' },
  { name: 'fuse, device', driver: 'fuse', transport: 'device' },
  { name: 'fuse, libfuse', driver: 'fuse', transport: 'libfuse' },
] as const;
/** What following the links of `withLoops` leads to. */
const LOOPS = { self: 'ELOOP', ping: 'ELOOP', pong: 'ELOOP', nowhere: 'ENOENT' };
/** Longer than any walk of a tree of this size, in seconds: what takes so long does not end. */
const ENDLESS = 60;
let madeOnce: SampleImage | undefined;
/** The largest of them takes a second to make. */
const many = () => (madeOnce ??= withManyNames(100_000));
/** How `timeout` ends when it had to kill. */
const KILLED = [124, 137];

/** Reads all of a tree; returns the exit code of who does. */
async function walk(root: string): Promise<number | null> {
  const find = ['find', root, '-ls', '-type', 'f', '-exec', 'cat', '{}', '+'];
  const [code] = await once(
    spawn('timeout', ['-k', '5', String(ENDLESS), ...find], { stdio: 'ignore' }),
    'exit',
  );
  return code;
}

/** All bytes of a file. (`readFile` of Node.js takes a short read, which an error may follow, for the end.) */
async function bytesOf(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    for (const parts: Buffer[] = []; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(1 << 16), 0, 1 << 16, null);
      if (bytesRead === 0) return Buffer.concat(parts);
      parts.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

describe.skipIf(process.geteuid?.() !== 0).each(WAYS)(
  'damaged metadata through $name',
  ({ name, ...how }) => {
    let place: TestPlace;
    beforeAll(async () => {
      place = createPlace();
      await ensureDaemon(place);
    });
    afterAll(() => place?.remove());

    it('is refused, or read to the end with errors at worst, by the same daemon', async () => {
      const bytes = readFileSync(join(golden, 'v6/small.boot'));
      const blobs = goldenBootstrap('small').blobs.map(({ id }) => readFileSync(goldenBlobFile(id)));
      const places = placesOf(bytes);
      const { pid } = (await daemonStatus(place))!;
      let refused = 0;
      let walked = 0;
      for (const seed of fuzzSeeds(8)) {
        const bootstrap = overwrite(bytes, places, random(seed));
        const path = join(place.dir, `image-${seed}`);
        await putTogether({ bootstrap, blobs }, { path, tag: 'latest' });
        const mountpoint = await place.mountpoint(`${name}-${seed}`);
        try {
          await mountImage(place, { reference: `oci:${path}:latest`, mountpoint, ...how });
        } catch (error) {
          if (!isRafterError(error, 'MALFORMED', 'UNSUPPORTED', 'LIMIT_EXCEEDED', 'DIGEST_MISMATCH'))
            throw error;
          refused++;
          continue;
        }
        expect(KILLED, `seed ${seed}`).not.toContain(await walk(mountpoint));
        walked++;
        await unmountImage(place, { mountpoint }, { force: true });
      }
      // The rounds are there to try both.
      expect([refused > 0, walked > 0]).toEqual([true, true]);
      expect((await daemonStatus(place))!.pid).toBe(pid);
    });

    let count = 0;
    /** Mounts what somebody made with care. */
    const mountMade = async ({ bootstrap, blob }: SampleImage) => {
      const name = `made-${++count}`;
      const path = join(place.dir, name);
      await putTogether({ bootstrap, blobs: [blob] }, { path, tag: 'latest' });
      const mountpoint = await place.mountpoint(`${name}-mnt`);
      await mountImage(place, { reference: `oci:${path}:latest`, mountpoint, ...how });
      return mountpoint;
    };
    const chunks = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.alloc(CHUNK, value)));

    describe('made with care', () => {
      let good: string;
      let pid: number;
      beforeAll(async () => {
        good = await mountMade(sample());
        ({ pid } = (await daemonStatus(place))!);
      });
      // Whatever was mounted or refused: the daemon is the same, and what it serves beside is right.
      afterEach(async () => {
        expect((await daemonStatus(place))!.pid).toBe(pid);
        const read = ['a', 'd/b', 'l'].map((file) => readFile(join(good, file)));
        expect(await Promise.all(read)).toEqual([chunks(1, 2, 3), chunks(4, 5, 6), chunks(1, 2, 3)]);
      });

      const [past, said] = [/in a blob of 24576/, /does not follow the one before/];
      const [size, twice] = [/inode \d+ (chunk format|i_size)/, /has two names/];
      // What the kernel is not given, the daemon reads only as far as somebody asks.
      it.each([
        ['a chunk past the end of its blob', () => withChunkAt(0, 6), past, 'EIO'],
        ['a chunk far past the end', () => withChunkAt(2, 0xfffffff0), past, 'EIO'],
        [
          'chunks that are not the run that they are said to be',
          () => withChunkAt(1, 3),
          said,
          chunks(1, 4, 3),
        ],
        ['a size beyond the chunk index', () => withSize(0x7fffffff), size, 'EIO'],
        ['a size beyond the blob', () => withSize(7 * CHUNK), size, 'EIO'],
        ['a directory that contains the root', () => withSecondName(['d'], []), twice, chunks(1, 2, 3)],
        ['a directory that contains itself', () => withSecondName(['e', 'f'], ['e']), twice, chunks(1, 2, 3)],
        ['a directory with two names', () => withSecondName(['e', 'f'], ['d']), twice, chunks(1, 2, 3)],
      ])('%s is refused, or walked to its end', async (_, make, problem, a) => {
        if (how.driver === 'erofs') {
          await expect(mountMade(make())).rejects.toMatchObject({
            code: expect.stringMatching(/^(MALFORMED|UNSUPPORTED)$/),
            message: expect.stringMatching(problem),
          });
          return;
        }
        const root = await mountMade(make());
        expect(KILLED).not.toContain(await walk(root));
        const read = bytesOf(join(root, 'a'));
        if (typeof a === 'string') await expect(read).rejects.toMatchObject({ code: a });
        else expect(await read).toEqual(a);
      });

      it('one of 100,000 names that leads nowhere is refused, or hides none of the others', async () => {
        const mounting = mountMade(withDamageAmongMany(many()));
        if (how.driver === 'erofs') {
          await expect(mounting).rejects.toMatchObject({
            code: 'MALFORMED',
            message: expect.stringContaining('inode'),
          });
          return;
        }
        expect(await readdir(join(await mounting, 'many'))).toHaveLength(100_000);
      });

      it('chunks that overlap are read as the bootstrap says', async () => {
        const root = await mountMade(withChunkAt(1, 0, { isOneRun: false }));
        expect(await readFile(join(root, 'a'))).toEqual(chunks(1, 1, 3));
        expect(await readFile(join(root, 'd/b'))).toEqual(chunks(4, 5, 6));
      });

      it('links that lead to themselves or nowhere are links, and following them ends', async () => {
        const root = await mountMade(withLoops());
        for (const [name, code] of Object.entries(LOOPS))
          await expect(stat(join(root, name)), name).rejects.toMatchObject({ code });
        expect(await readlink(join(root, 'ping'))).toBe('pong');
      });

      it('a directory of 100,000 names is listed whole, and each is found', async () => {
        const root = await mountMade(many());
        const names = await readdir(join(root, 'many'));
        expect(names).toHaveLength(100_000);
        expect(new Set(names).size).toBe(100_000);
        for (const name of ['name-0', 'name-54321', 'name-99999'])
          expect((await lstat(join(root, 'many', name))).isFIFO()).toBe(true);
        await expect(lstat(join(root, 'many/name-100000'))).rejects.toMatchObject({ code: 'ENOENT' });
      });
    });
  },
);
