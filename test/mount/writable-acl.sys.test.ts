import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mountImage, unmountImage } from '../../src/mount/client/client.js';
import { convertLayout, makeLayout } from '../convert/layouts.js';
import { makeTar, type TarItem } from '../convert/tar-writer.js';
import { missingPrograms } from '../support/programs.js';
import { compareTrees, readTree } from '../support/tree.js';
import { aclBytes } from './acl-bytes.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { overlayOnExt4 } from './ext4-overlay.js';

const DEFAULT = 'system.posix_acl_default';
const ACCESS = 'system.posix_acl_access';
const inherited = aclBytes({ owner: 7, user: 7, id: 65534, group: 5, mask: 7, other: 0 });
const narrow = aclBytes({ owner: 7, user: 4, id: 1000, group: 0, mask: 5, other: 1 });

const withDefault = (name: string, acl: Buffer, more: Partial<TarItem> = {}): TarItem => ({
  name,
  pax: [[`SCHILY.xattr.${DEFAULT}`, acl]],
  ...more,
});
const directory = { type: '5', mode: 0o755 };
const files = (dir: string): TarItem[] =>
  ['one', 'two', 'three'].map((name) => ({ name: `${dir}/${name}`, data: `${dir} ${name}`, mode: 0o664 }));
const image = makeTar([
  {
    name: './',
    ...directory,
    mode: 0o2771,
    uid: 12,
    gid: 34,
    pax: [
      ['mtime', '-1234.000000567'],
      [`SCHILY.xattr.${ACCESS}`, aclBytes({ owner: 7, user: 6, id: 65534, group: 5, mask: 7, other: 1 })],
      [`SCHILY.xattr.${DEFAULT}`, inherited],
      ['SCHILY.xattr.user.root', 'of the image'],
      ['SCHILY.xattr.trusted.odd', 'kept'],
    ],
  },
  withDefault('given/', inherited, directory),
  ...files('given'),
  { name: 'given/inner/', ...directory },
  withDefault('taken/', inherited, directory),
  ...files('taken'),
  { name: 'plain/', ...directory },
  ...files('plain'),
  withDefault('renamed/', narrow, directory),
  ...files('renamed'),
  {
    name: 'shown',
    data: 'shown',
    mode: 0o640,
    pax: [[`SCHILY.xattr.${ACCESS}`, aclBytes({ user: 4, id: 65534, mask: 4, other: 0 })]],
  },
]);

/** What makes files in directories with default ACLs, copies files up in them, and gives, changes and takes ACLs. */
const SCRIPT = `
cd "$1"; umask 022; try() { "$@" >/dev/null 2>&1 || echo "$1 $2: $?"; }
for dir in . given given/inner taken plain renamed; do
  echo new > $dir/file; mkdir $dir/dir; echo deeper > $dir/dir/file; (umask 077; echo private > $dir/private)
  try mkfifo $dir/fifo; try ln -s elsewhere $dir/link
done
echo more >> given/one; try chmod 0600 given/two; try mv given/three given/moved; try ln given/one given/hard
try mv plain/one given/from-plain; try cp -p plain/two given/copied
try setfattr -x ${DEFAULT} taken; echo later > taken/later; mkdir taken/later-dir
try setfattr -n ${DEFAULT} -v 0x${narrow.toString('hex')} plain; echo later > plain/later; mkdir plain/later-dir
try mv renamed was-renamed; echo later > was-renamed/later; mkdir was-renamed/later-dir
echo more >> shown; try chmod 0604 shown
try chmod 0700 given; echo narrower > given/narrower
find . -exec touch -h -d @1000000000 {} +
`;
const change = (root: string) => execFileSync('bash', ['-c', SCRIPT, 'bash', root], { encoding: 'latin1' });

let place: TestPlace;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

it('default ACLs are inherited as on an overlay on ext4, through every driver', async (ctx) => {
  const missing = missingPrograms('mkfs.ext4', 'setfattr', 'bash');
  if (missing) ctx.skip(missing);
  const { dir } = await convertLayout(makeLayout([image]));
  const mount = async (name: string, more: object) =>
    mountImage(place, {
      reference: `oci:${dir}:out`,
      platform: 'linux/amd64',
      mountpoint: await place.mountpoint(name),
      ...more,
    });
  const plain = await mount('plain', {});
  const root = (await readTree(plain.mountpoint)).get('/')!;
  expect(root).toMatchObject({ mode: '2771', owner: '12:34', mtime: '-1234000000567' });
  const reference = await overlayOnExt4(place, plain.mountpoint);
  try {
    expect(compareTrees(await readTree(plain.mountpoint), await readTree(reference.root))).toEqual([]);
    const said = change(reference.root);
    const expected = await readTree(reference.root);
    for (const path of ['/given/file', '/given/dir', '/given/dir/file', '/was-renamed/later-dir'])
      expect(expected.get(path)!.xattrs).toContain(ACCESS);
    for (const path of ['/taken/later', '/given/one', '/given/inner/file'])
      expect(expected.get(path)!.xattrs).toBe('');
    for (const [name, how] of Object.entries({
      erofs: { driver: 'erofs' },
      device: { driver: 'fuse', transport: 'device' },
      libfuse: { driver: 'fuse', transport: 'libfuse' },
    })) {
      const { id, mountpoint } = await mount(name, { ...how, writable: {} });
      expect((await readTree(mountpoint)).get('/')).toEqual(root);
      expect(change(mountpoint)).toBe(said);
      expect(compareTrees(expected, await readTree(mountpoint))).toEqual([]);
      await unmountImage(place, { id });
    }
  } finally {
    reference.remove();
  }
});
