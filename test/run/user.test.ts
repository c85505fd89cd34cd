import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readTextInRoot, resolveInRoot } from '../../src/run/rooted-path.js';
import { resolveUser } from '../../src/run/user.js';

let base: string;
let root: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'rafter-user-'));
  root = join(base, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  writeFileSync(
    join(root, 'etc/passwd'),
    [
      'root:x:0:0:root:/root:/bin/sh',
      '# a comment',
      'broken line',
      'app:x:1000:1001:App:/home/app:/bin/sh',
      '3000:x:5:5:digits for a name:/five:',
      'homeless:x:6:6::: ',
      'huge:x:99999999999:1::/:',
    ].join('\n'),
  );
  writeFileSync(
    join(root, 'etc/group'),
    'root:x:0:\napp:x:1001:\nvideo:x:44:app,root\naudio:x:29:other,app\napple:x:30:apple\nbad:x:y:app\n',
  );
});
afterEach(() => rmSync(base, { recursive: true }));

describe('a user', () => {
  it('by name has its group, its supplementary groups and its home', () => {
    expect(resolveUser(root, 'app')).toEqual({
      uid: 1000,
      gid: 1001,
      additionalGids: [1001, 44, 29],
      home: '/home/app',
    });
  });

  it('is root, with root’s groups, if the image names none', () => {
    expect(resolveUser(root, '')).toEqual({ uid: 0, gid: 0, additionalGids: [0, 44], home: '/root' });
  });

  it('by id is the same as by name', () => {
    expect(resolveUser(root, '1000')).toEqual(resolveUser(root, 'app'));
  });

  it('by id need not be in the files', () => {
    expect(resolveUser(root, '4321')).toEqual({ uid: 4321, gid: 0, additionalGids: [0], home: '/' });
    expect(resolveUser(root, '4321:77')).toEqual({ uid: 4321, gid: 77, additionalGids: [77], home: '/' });
  });

  it('with a group has that group only', () => {
    expect(resolveUser(root, 'app:audio')).toEqual({
      uid: 1000,
      gid: 29,
      additionalGids: [29],
      home: '/home/app',
    });
    expect(resolveUser(root, '1000:5').gid).toBe(5);
    expect(resolveUser(root, ':44')).toMatchObject({ uid: 0, gid: 44 });
    expect(resolveUser(root, 'app:')).toEqual(resolveUser(root, 'app'));
  });

  it('of digits is an id, not a name', () => {
    expect(resolveUser(root, '3000').uid).toBe(3000);
  });

  it('without a home directory has /', () => {
    expect(resolveUser(root, 'homeless').home).toBe('/');
  });

  it('that is not there is NOT_FOUND, and an entry with an id out of range is none', () => {
    const notFound = (text: string) =>
      expect(() => resolveUser(root, text)).toThrowError(expect.objectContaining({ code: 'NOT_FOUND' }));
    notFound('nobody');
    notFound('app:nogroup');
    notFound('huge');
    notFound('app:bad');
    notFound('-1');
  });

  it('may have any id up to 2147483647', () => {
    expect(resolveUser(root, '2147483647:2147483647')).toMatchObject({ uid: 2147483647, gid: 2147483647 });
    for (const text of ['2147483648', '0:2147483648'])
      expect(() => resolveUser(root, text)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  it('by id is found in an image without files', () => {
    rmSync(join(root, 'etc'), { recursive: true });
    expect(resolveUser(root, '')).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: '/' });
    expect(() => resolveUser(root, 'root')).toThrow(/not in the image's \/etc\/passwd/);
  });
});

describe('files of the image', () => {
  const LIMIT = 8 << 20;
  it('are not reached through links that lead out of it', () => {
    writeFileSync(join(base, 'passwd'), 'outside:x:7:7::/:\n');
    unlinkSync(join(root, 'etc/passwd'));
    for (const target of ['../../passwd', `../../../../../../..${base}/passwd`, join(base, 'passwd')]) {
      symlinkSync(target, join(root, 'etc/passwd'));
      expect(() => resolveUser(root, 'outside'), target).toThrow(/not in the image/);
      unlinkSync(join(root, 'etc/passwd'));
    }
  });

  it('are reached through links as the container sees them', () => {
    mkdirSync(join(root, 'usr/share'), { recursive: true });
    writeFileSync(join(root, 'usr/share/passwd'), 'inside:x:8:8::/:\n');
    unlinkSync(join(root, 'etc/passwd'));
    symlinkSync('/usr/../usr/share/passwd', join(root, 'etc/passwd'));
    symlinkSync('/etc/passwd', join(root, 'second'));
    expect(resolveUser(root, 'inside').uid).toBe(8);
    expect(resolveInRoot(root, '/second')).toBe(join(root, 'usr/share/passwd'));
    expect(resolveInRoot(root, '../..//./etc/')).toBe(join(root, 'etc'));
    expect(resolveInRoot(root, '/second/below')).toBeUndefined();
  });

  it('behind a circle of links are MALFORMED, behind 40 links they are found', () => {
    symlinkSync('circle', join(root, 'circle'));
    expect(() => resolveInRoot(root, '/circle')).toThrowError(expect.objectContaining({ code: 'MALFORMED' }));
    symlinkSync('etc', join(root, 'link1'));
    for (let i = 2; i <= 41; i++) symlinkSync(`link${i - 1}`, join(root, `link${i}`));
    expect(resolveInRoot(root, '/link40')).toBe(join(root, 'etc'));
    expect(() => resolveInRoot(root, '/link41')).toThrow(/too many/);
  });

  it('are read up to the limit', () => {
    truncateSync(join(root, 'etc/group'), LIMIT);
    expect(resolveUser(root, '5:5').gid).toBe(5);
    expect(readTextInRoot(root, '/etc/group', LIMIT)?.length).toBe(LIMIT);
    truncateSync(join(root, 'etc/passwd'), LIMIT + 1);
    expect(() => resolveUser(root, 'app')).toThrowError(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
  });

  it('count as missing if they are no regular files, and do not block', () => {
    unlinkSync(join(root, 'etc/passwd'));
    execFileSync('mkfifo', [join(root, 'etc/passwd')]);
    expect(readTextInRoot(root, '/etc/passwd', LIMIT)).toBeUndefined();
    expect(readTextInRoot(root, '/etc', LIMIT)).toBeUndefined();
  });
});
