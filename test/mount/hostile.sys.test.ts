import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isRafterError } from '../../src/errors.js';
import { daemonStatus, mountImage, unmountImage } from '../../src/mount/client.js';
import { ensureDaemon } from '../../src/mount/start-daemon.js';
import { fuzzSeeds } from '../support/fuzz.js';
import { overwrite, placesOf, random } from '../support/mutate.js';
import { putTogether } from '../support/nydus-layout.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { golden, goldenBlobFile, goldenBootstrap } from './golden.js';

const WAYS = [
  { name: 'erofs', driver: 'erofs' },
  { name: 'fuse, device', driver: 'fuse', transport: 'device' },
  { name: 'fuse, libfuse', driver: 'fuse', transport: 'libfuse' },
] as const;
/** Longer than any walk of a tree of this size, in seconds: what takes so long does not end. */
const ENDLESS = 60;
/** How `timeout` ends when it had to kill. */
const KILLED = [124, 137];

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
        const find = ['find', mountpoint, '-ls', '-type', 'f', '-exec', 'cat', '{}', '+'];
        const walk = spawn('timeout', ['-k', '5', String(ENDLESS), ...find], { stdio: 'ignore' });
        const [code] = await once(walk, 'exit');
        expect(KILLED, `seed ${seed}`).not.toContain(code);
        walked++;
        await unmountImage(place, { mountpoint }, { force: true });
      }
      // The rounds are there to try both.
      expect([refused > 0, walked > 0]).toEqual([true, true]);
      expect((await daemonStatus(place))!.pid).toBe(pid);
    });
  },
);
