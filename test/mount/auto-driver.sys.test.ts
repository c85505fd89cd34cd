import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { listMounts, mountImage, unmountImage } from '../../src/mount/client/client.js';
import { mount, unmount } from '../../src/os/mount.js';
import { missingPrograms } from '../support/programs.js';
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

it('takes loop devices where EROFS of files does not work, and says why; files alone are refused', async () => {
  // Every kernel refuses EROFS of a file on a tmpfs, as those before 6.12 refuse it of any file.
  mkdirSync(place.dataRoot, { mode: 0o700 });
  mount({ source: 'tmpfs', target: place.dataRoot, type: 'tmpfs', data: 'mode=700' });
  const image = { reference: `oci:${place.dir}/image:latest`, mountpoint: await place.mountpoint('m') };
  try {
    const mounted = await mountImage(place, image);
    expect(mounted).toMatchObject({ driver: 'erofs', backing: 'loop' });
    expect(mounted.driverReason).toBe('cannot mount erofs of files: ENOTBLK');
    expect((await listMounts(place))[0]!.driverReason).toBe(mounted.driverReason);
    expect(compareTrees(expectedTree('full'), await readTree(mounted.mountpoint))).toEqual([]);
    await unmountImage(place, { id: mounted.id });
    await expect(mountImage(place, { ...image, driver: 'erofs', backing: 'file' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('Linux 6.12'),
    });
    expect(await listMounts(place)).toEqual([]);
  } finally {
    unmount(place.dataRoot, { detach: true });
  }
});

it('takes the driver fuse where there are no loop devices either, and says that, too', async (ctx) => {
  const missing = missingPrograms('unshare');
  if (missing) ctx.skip(missing);
  // A machine of its own for the daemon, where /dev has only what it needs.
  const devices = 'mount -t tmpfs dev /dev && mknod /dev/null c 1 3 && mknod /dev/fuse c 10 229';
  const [program = '', ...args] = place.command!;
  const data = `mkdir -m 700 ${place.dataRoot} && mount -t tmpfs -o mode=700 data ${place.dataRoot}`;
  place.command = [
    'unshare',
    '-m',
    'sh',
    '-ec',
    `${devices} && ${data} && exec "$@"`,
    'sh',
    program,
    ...args,
  ];
  const image = { reference: `oci:${place.dir}/image:latest`, mountpoint: await place.mountpoint('m') };
  const mounted = await mountImage(place, image);
  expect(mounted).toMatchObject({ driver: 'fuse', transport: 'device' });
  expect(mounted.driverReason).toMatch(
    /ENOTBLK; there are no loop devices: cannot open \/dev\/loop-control: ENOENT$/,
  );
  await expect(
    mountImage(place, { ...image, mountpoint: await place.mountpoint('n'), driver: 'erofs' }),
  ).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    hint: expect.stringMatching(/Linux 6.12, .*modprobe loop/),
  });
});
