import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mount, unmount } from '../../src/os/mount.js';
import type { TestPlace } from './daemon-process.js';

/** Gives the directory $2 the attributes of $1, as an administrator would do it. */
const COPY_ATTRIBUTES = `
chown --reference="$1" "$2" && chmod --reference="$1" "$2" &&
getfattr -d -m - -e hex --absolute-names "$1" | (cd "$2" && sed 's|^# file: .*|# file: .|' | setfattr --restore=-) &&
touch --reference="$1" "$2"`;

/**
 * A copy of the tree `source` on an ext4 of its own, with an overlay of it at `root` that this program has nothing to do with. Needs
 * mkfs.ext4 and setfattr. What ext4 cannot hold is missing.
 */
export async function overlayOnExt4(
  place: TestPlace,
  source: string,
): Promise<{ root: string; remove: () => void }> {
  const disk = await place.mountpoint('disk');
  const file = join(place.dir, 'disk.img');
  await writeFile(file, '');
  await truncate(file, 200 << 20);
  execFileSync('mkfs.ext4', ['-q', '-O', 'ea_inode', file]);
  execFileSync('mount', ['-o', 'loop', file, disk]);
  for (const name of ['upper', 'work', 'root']) await mkdir(join(disk, name));
  // It fails where something does not fit, as a link that is longer than a block.
  spawnSync('cp', ['-a', source, join(disk, 'lower')]);
  const [root, lower, upper, work] = ['root', 'lower', 'upper', 'work'].map((name) => join(disk, name));
  execFileSync('sh', ['-c', COPY_ATTRIBUTES, 'sh', source, upper!]);
  const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  mount({ source: 'overlay', target: root!, type: 'overlay', data });
  const remove = () => {
    for (const path of [root!, disk]) unmount(path, { detach: true });
  };
  return { root: root!, remove };
}
