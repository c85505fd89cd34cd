import { describe, expect, it } from 'vitest';
import { findMount, isMountPoint, parseMountInfo, readMounts } from '../../src/os/mountinfo.js';

describe('parseMountInfo', () => {
  it('reads every field, with none, one and several optional ones', () => {
    const text = [
      '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue',
      '42 27 0:39 / /mnt/x ro,relatime - fuse.rafter rafter ro,user_id=0,allow_other',
      '50 27 0:40 / /y rw shared:7 master:2 propagate_from:1 - tmpfs none rw',
      '',
    ].join('\n');
    const [first, second, third] = parseMountInfo(text);
    expect(first).toEqual({
      id: 36,
      device: '98:0',
      root: '/mnt1',
      mountPoint: '/mnt2',
      options: ['rw', 'noatime'],
      type: 'ext3',
      source: '/dev/root',
      superOptions: ['rw', 'errors=continue'],
    });
    expect(second).toMatchObject({ type: 'fuse.rafter', source: 'rafter', options: ['ro', 'relatime'] });
    expect(third).toMatchObject({ mountPoint: '/y', type: 'tmpfs', source: 'none' });
  });

  it('undoes octal escapes, once', () => {
    const text = '1 0 0:1 /a\\040b /m\\011t\\134040\\043 rw - tmpfs src\\040name rw';
    expect(parseMountInfo(text)[0]).toMatchObject({
      root: '/a b',
      mountPoint: '/m\tt\\040#',
      source: 'src name',
    });
  });

  it('refuses a line without type and source', () => {
    expect(() => parseMountInfo('36 35 98:0 / /mnt rw,noatime master:1\n')).toThrow(/no type and source/);
    expect(() => parseMountInfo('36 35 98:0 / /mnt rw - ext4\n')).toThrow(/no type and source/);
  });
});

it('finds the root and /proc of this machine, and says no to a plain directory', async () => {
  expect((await readMounts()).length).toBeGreaterThan(1);
  expect(await isMountPoint('/')).toBe(true);
  expect(await findMount('/proc')).toMatchObject({ type: 'proc' });
  expect(await isMountPoint(import.meta.dirname)).toBe(false);
});
