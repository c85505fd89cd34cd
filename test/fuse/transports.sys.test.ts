import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdtemp, open, readFile, readlink, rmdir, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RafterError } from '../../src/errors.js';
import { mountOverDevice } from '../../src/fuse/device-mount.js';
import { DeviceServer } from '../../src/fuse/device-server.js';
import { FsError } from '../../src/fuse/fs-error.js';
import type { FuseMount } from '../../src/fuse/fuse-mount.js';
import { mountLibfuse } from '../../src/fuse/libfuse.js';
import { findMount } from '../../src/os/mountinfo.js';
import { MemoryFs } from './memory-fs.js';

const run = promisify(execFile);
/** Runs Python, which sees file names, times and xattrs as the kernel gives them, and returns what it prints. */
const python = async (code: string, ...args: string[]) =>
  (
    await run('python3', ['-c', `import os, sys\nroot = os.fsencode(sys.argv[1])\n${code}`, ...args])
  ).stdout.trim();

let dir: string;
let fs: MemoryFs;
let mount: FuseMount | undefined;
const errors: string[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-fuse-'));
  fs = new MemoryFs();
  errors.length = 0;
});
afterEach(async () => {
  await mount?.unmount({ detach: true }).catch(() => {});
  await mount?.ended;
  mount = undefined;
  await rmdir(dir);
});

const noteError = (operation: string, where: string | number, error: unknown) =>
  errors.push(`${operation} ${where}: ${(error as Error).message}`);

let server: DeviceServer;
beforeAll(() => {
  server = new DeviceServer(new URL('forwarding-reader.mjs', import.meta.url), (error) => {
    throw error;
  });
});
afterAll(() => server.close());

describe.each([
  {
    transport: 'libfuse',
    mountAt: (served: MemoryFs, at: string): Promise<FuseMount> =>
      mountLibfuse(served, at, { onError: noteError }),
  },
  {
    transport: '/dev/fuse',
    mountAt: async (served: MemoryFs, at: string): Promise<FuseMount> =>
      mountOverDevice(at, server, { fs: served, onError: noteError }),
  },
])('a mount through $transport', ({ mountAt }) => {
  async function mountIt(): Promise<void> {
    mount = await mountAt(fs, dir);
  }

  it('shows up with its own type and lets every user in, set-user-id programs and devices included', async () => {
    await mountIt();
    const entry = await findMount(dir);
    expect(entry).toMatchObject({ type: 'fuse.rafter', source: 'rafter' });
    expect(entry!.options).toContain('ro');
    expect(entry!.options).not.toContain('nosuid');
    expect(entry!.options).not.toContain('nodev');
    expect(entry!.superOptions).toEqual(expect.arrayContaining(['allow_other', 'default_permissions']));
  });

  it('reads a file of many requests, from any offset, to its end and not past it', async () => {
    const content = Buffer.from(Array.from({ length: 1_000_003 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
    fs.addFile(1, 'big', content);
    await mountIt();
    expect((await readFile(join(dir, 'big'))).equals(content)).toBe(true);
    const file = await open(join(dir, 'big'));
    try {
      const tail = await file.read(Buffer.alloc(100), 0, 100, content.length - 10);
      expect(tail.bytesRead).toBe(10);
      expect((await file.read(Buffer.alloc(100), 0, 100, content.length + 5)).bytesRead).toBe(0);
    } finally {
      await file.close();
    }
  });

  it('reads beyond four gigabytes at the right offset', async () => {
    const far = 5 * 2 ** 30 + 123;
    const content = async (offset: number, target: Buffer) => {
      for (let i = 0; i < target.length; i++) target[i] = offset + i >= far ? 0x42 : 0;
      return target.length;
    };
    fs.add(1, 'huge', { mode: constants.S_IFREG | 0o644, size: 6 * 2 ** 30, content });
    await mountIt();
    const file = await open(join(dir, 'huge'));
    try {
      const { buffer } = await file.read(Buffer.alloc(4), 0, 4, far - 2);
      expect([...buffer]).toEqual([0, 0, 0x42, 0x42]);
    } finally {
      await file.close();
    }
  });

  it('keeps nanoseconds, times before 1970, inode numbers above 32 bits, sizes, owners and devices', async () => {
    fs.add(
      1,
      'old',
      { mode: constants.S_IFREG | 0o4755, mtimeSec: -86_400, mtimeNsec: 123_456_789 },
      2 ** 33 + 5,
    );
    fs.add(1, 'dev', { mode: constants.S_IFCHR | 0o600, rdev: { major: 4095, minor: 1_048_575 } });
    fs.add(1, 'own', {
      mode: constants.S_IFREG,
      uid: 4_294_967_294,
      gid: 4_294_967_293,
      nlink: 3,
      size: 2 ** 40,
    });
    await mountIt();
    const old = await stat(join(dir, 'old'), { bigint: true });
    expect(old.mtimeNs).toBe(-86_400n * 10n ** 9n + 123_456_789n);
    expect(old.ino).toBe(2n ** 33n + 5n);
    expect(old.mode & 0o7777n).toBe(0o4755n);
    const rdev = await python('d = os.lstat(root + b"/dev").st_rdev; print(os.major(d), os.minor(d))', dir);
    expect(rdev).toBe('4095 1048575');
    expect(await stat(join(dir, 'own'))).toMatchObject({
      uid: 4_294_967_294,
      gid: 4_294_967_293,
      nlink: 3,
      size: 2 ** 40,
      blocks: 2 ** 31,
    });
  });

  it('keeps names apart that are the same text when decoded as UTF-8', async () => {
    fs.addFile(1, Buffer.from([0x78, 0xff]), Buffer.from('first'));
    fs.addFile(1, Buffer.from([0x78, 0xfe]), Buffer.from('second'));
    fs.addFile(1, 'x\uFFFD', Buffer.from('third'));
    fs.addFile(1, 'new\nline \\ back', Buffer.from('fourth'));
    await mountIt();
    const list = await python(
      'print(sorted((n.hex(), open(root + b"/" + n).read()) for n in os.listdir(root)))',
      dir,
    );
    expect(list).toBe(
      "[('6e65770a6c696e65205c206261636b', 'fourth'), ('78efbfbd', 'third'), ('78fe', 'second'), ('78ff', 'first')]",
    );
  });

  it('lists names of 255 bytes, entry types and inode numbers without a stat of each', async () => {
    const long = Buffer.alloc(255, 0xff);
    fs.add(1, long, { mode: constants.S_IFSOCK | 0o755 }, 4242);
    await mountIt();
    const list = await python(
      'print([(len(e.name), e.inode(), e.is_file(follow_symlinks=False), e.is_dir()) for e in os.scandir(root)])',
      dir,
    );
    expect(list).toBe('[(255, 4242, False, False)]');
  });

  it('lists a directory of five thousand', async () => {
    for (let i = 0; i < 5000; i++) fs.add(1, `file-${i}`, { mode: constants.S_IFREG });
    await mountIt();
    expect(await python('print(len(set(os.listdir(root))))', dir)).toBe('5000');
  });

  it('hands out link targets of any bytes and up to 4095 of them', async () => {
    const long = `${'t/'.repeat(2047)}t`;
    fs.add(1, 'long', { mode: constants.S_IFLNK | 0o777, target: Buffer.from(long) });
    fs.add(1, 'bytes', { mode: constants.S_IFLNK | 0o777, target: Buffer.from([0x2f, 0xfe, 0x80]) });
    await mountIt();
    expect(await readlink(join(dir, 'long'))).toBe(long);
    expect([...(await readlink(join(dir, 'bytes'), 'buffer'))]).toEqual([0x2f, 0xfe, 0x80]);
  });

  it('answers getxattr and listxattr for callers with no, too little and enough room', async () => {
    fs.addFile(1, 'f', Buffer.from('x'), {
      xattrs: [
        [Buffer.from('user.big'), Buffer.alloc(1500, 7)],
        [Buffer.from('user.empty'), Buffer.alloc(0)],
        [Buffer.from([...Buffer.from('user.'), 0xff]), Buffer.from([0, 255, 0])],
      ],
    });
    await mountIt();
    const code = `
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
path = root + b"/f"
def sized(n):
    b = ctypes.create_string_buffer(max(n, 1))
    r = libc.getxattr(path, b"user.big", b, n)
    return r if r >= 0 else errno.errorcode[ctypes.get_errno()]
def listed(n):
    b = ctypes.create_string_buffer(max(n, 1))
    r = libc.listxattr(path, b, n)
    return r if r >= 0 else errno.errorcode[ctypes.get_errno()]
print([sized(n) for n in (0, 1, 1499, 1500, 1501, 60000)], [listed(n) for n in (0, 26, 27, 4000)])
print(os.getxattr(path, "user.big") == b"\\7" * 1500, os.getxattr(path, b"user.empty"), os.getxattr(path, b"user.\\xff"))
try:
    os.getxattr(path, "user.none")
except OSError as e:
    print(e.errno == errno.ENODATA)`;
    expect((await python(code, dir)).split('\n')).toEqual([
      "[1500, 'ERANGE', 'ERANGE', 1500, 1500, 1500] [27, 'ERANGE', 27, 27]",
      "True b'' b'\\x00\\xff\\x00'",
      'True',
    ]);
  });

  it('answers statfs with 64-bit counts', async () => {
    await mountIt();
    expect(await statfs(dir)).toMatchObject({ bsize: 4096, blocks: 2 ** 33 + 5, bfree: 0 });
  });

  it('turns errors of the file system into the errno they name, others into EIO with a report, and lives on', async () => {
    let failure: unknown = new Error('out of luck');
    const content = async (_offset: number, target: Buffer) => {
      if (failure !== undefined) throw failure;
      target.fill(0x6f);
      return target.length;
    };
    fs.add(1, 'moody', { mode: constants.S_IFREG | 0o644, size: 3, content });
    await mountIt();
    await expect(readFile(join(dir, 'moody'))).rejects.toMatchObject({ code: 'EIO' });
    expect(errors[0]).toMatch(/^read (\/moody|2): out of luck$/);
    errors.length = 0;
    failure = new FsError('EINVAL', 'asked wrongly');
    await expect(readFile(join(dir, 'moody'))).rejects.toMatchObject({ code: 'EINVAL' });
    expect(errors).toEqual([]);
    failure = undefined;
    expect(await readFile(join(dir, 'moody'), 'utf8')).toBe('ooo');
    await expect(stat(join(dir, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(stat(join(dir, 'moody/below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it('answers other readers while one waits, and stays unmountable only by detaching', async () => {
    let go: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const content = async (_offset: number, target: Buffer) => {
      await gate;
      return target.fill(0x61).length;
    };
    fs.add(1, 'slow', { mode: constants.S_IFREG | 0o644, size: 4, content });
    fs.addFile(1, 'fast', Buffer.from('fast'));
    await mountIt();
    const slow = readFile(join(dir, 'slow'), 'utf8');
    expect(await readFile(join(dir, 'fast'), 'utf8')).toBe('fast');
    await expect(mount!.unmount()).rejects.toMatchObject({ code: 'BUSY' });
    await mount!.unmount({ detach: true });
    expect(await findMount(dir)).toBeUndefined();
    go();
    expect(await slow).toBe('aaaa');
    await mount!.ended;
  });

  it('notices that somebody else unmounted it', async () => {
    await mountIt();
    await run('umount', [dir]);
    await mount!.ended;
    await expect(mount!.unmount()).rejects.toMatchObject({ code: 'FAILED' });
  });

  it('serves two mounts of one process side by side, and one place again after an unmount', async () => {
    fs.addFile(1, 'a', Buffer.from('one'));
    await mountIt();
    const other = await mkdtemp(join(tmpdir(), 'rafter-fuse-'));
    const second = new MemoryFs();
    second.addFile(1, 'a', Buffer.from('two'));
    const otherMount = await mountAt(second, other);
    try {
      expect(await readFile(join(dir, 'a'), 'utf8')).toBe('one');
      expect(await readFile(join(other, 'a'), 'utf8')).toBe('two');
      await mount!.unmount();
      await mount!.ended;
      await mountIt();
      expect(await readFile(join(dir, 'a'), 'utf8')).toBe('one');
    } finally {
      await otherMount.unmount({ detach: true });
      await otherMount.ended;
      await rmdir(other);
    }
  });

  it('reports a mount point that is not there as an error, not as a crash', async () => {
    const failed = mountAt(fs, join(dir, 'missing'));
    await expect(failed).rejects.toBeInstanceOf(RafterError);
    await expect(failed).rejects.toMatchObject({ code: expect.stringMatching(/^(FAILED|NOT_FOUND)$/) });
  });
});

it('refuses a mount point that fuse-native would cut', async () => {
  await expect(mountLibfuse(fs, `/${'x'.repeat(1023)}`)).rejects.toMatchObject({ code: 'USAGE' });
});
