import { execFileSync, spawnSync } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountImage } from '../../src/mount/client/client.js';
import type { TreeNode } from '../../src/rafs/tree.js';
import { putTogether } from '../support/nydus-layout.js';
import { missingPrograms } from '../support/programs.js';
import { aclBytes } from './acl-bytes.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { sample } from './hostile-images.js';

const WAYS = [
  { name: 'erofs', driver: 'erofs' },
  { name: 'fuse, device', driver: 'fuse', transport: 'device' },
  { name: 'fuse, libfuse', driver: 'fuse', transport: 'libfuse' },
] as const;
/** The user whom the lists name. */
const NOBODY = 65534;

const ALLOWED = aclBytes({ user: 4, id: NOBODY, mask: 4, other: 0 });
const DENIED = aclBytes({ user: 0, id: NOBODY, mask: 4, other: 4 });

function empty(mode: number, value: Buffer): TreeNode {
  const xattrs = [{ name: Buffer.from('system.posix_acl_access'), value }];
  const times = { mtimeSec: 0, mtimeNsec: 0 };
  return {
    inode: { type: 'file', mode: 0o100000 | mode, uid: 0, gid: 0, ...times, xattrs, size: 0, chunks: [] },
  };
}

describe.skipIf(process.geteuid?.() !== 0 || missingPrograms('setpriv', 'getfattr')).each(WAYS)(
  'access control lists through $name',
  ({ name: _name, ...how }) => {
    let place: TestPlace;
    let root: string;
    beforeAll(async () => {
      place = createPlace();
      const { bootstrap, blob } = sample([
        ['allowed', empty(0o640, ALLOWED)],
        ['denied', empty(0o644, DENIED)],
      ]);
      const path = join(place.dir, 'image');
      await putTogether({ bootstrap, blobs: [blob] }, { path, tag: 'latest' });
      root = await place.mountpoint('mnt');
      await mountImage(place, { reference: `oci:${path}:latest`, mountpoint: root, ...how });
      await chmod(place.dir, 0o711);
    });
    afterAll(() => place?.remove());

    it.each([
      ['allowed', ALLOWED],
      ['denied', DENIED],
    ])('are shown as the image has them: %s', (file, value) => {
      const options = ['--absolute-names', '--only-values', '-n', 'system.posix_acl_access'];
      expect(execFileSync('getfattr', [...options, join(root, file)])).toEqual(value);
    });

    it('decide who reads, where docs/drivers.md says so', () => {
      const user = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
      const statusOf = (file: string) =>
        spawnSync('setpriv', [...user, 'cat', join(root, file)], { stdio: 'ignore' }).status;
      const isChecked = how.driver === 'erofs' || how.transport === 'device';
      expect([statusOf('allowed'), statusOf('denied')]).toEqual(isChecked ? [0, 1] : [1, 0]);
    });
  },
);
