import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { listMounts, mountImage, unmountImage } from '../../src/mount/client.js';
import { mount, unmount } from '../../src/os/mount.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

let place: TestPlace;
beforeEach(async (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root');
  place = createPlace();
  await writeGoldenLayout('full', `${place.dir}/image`);
});
afterEach(() => place?.remove());

it('takes the driver fuse where erofs does not work, and says why; erofs alone is refused', async () => {
  // Every kernel refuses EROFS of a file on a tmpfs, as those before 6.12 refuse it of any file.
  mkdirSync(place.dataRoot, { mode: 0o700 });
  mount({ source: 'tmpfs', target: place.dataRoot, type: 'tmpfs', data: 'mode=700' });
  const image = { reference: `oci:${place.dir}/image:latest`, mountpoint: await place.mountpoint('m') };
  try {
    const mounted = await mountImage(place, image);
    expect(mounted).toMatchObject({ driver: 'fuse', transport: 'device' });
    expect(mounted.driverReason).toMatch(/mount erofs at .*ENOTBLK/);
    expect((await listMounts(place))[0]!.driverReason).toBe(mounted.driverReason);
    expect(compareTrees(expectedTree('full'), await readTree(mounted.mountpoint))).toEqual([]);
    await unmountImage(place, { id: mounted.id });
    await expect(mountImage(place, { ...image, driver: 'erofs' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('Linux 6.12'),
    });
    expect(await listMounts(place)).toEqual([]);
  } finally {
    unmount(place.dataRoot, { detach: true });
  }
});
