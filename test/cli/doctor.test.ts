import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { checkMachine, type Finding } from '../../src/cli/machine-checks.js';
import { type Machine, parseRelease, thisMachine } from '../../src/os/machine.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'rafter-machine-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

function put(path: string, text = '', mode = 0o644): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  chmodSync(join(root, path), mode);
}

/** Files of a machine with everything: each test takes something away. */
function putGoodMachine(kernel = '6.12.3-amd64'): void {
  put('proc/sys/kernel/osrelease', `${kernel}\n`);
  put('proc/self/status', 'Name:\tnode\nCapEff:\t000001ffffffffff\n');
  put('proc/self/mounts', 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n');
  put('proc/filesystems', 'nodev\tproc\nnodev\toverlay\n\tfuseblk\nnodev\tfuse\n\terofs\n');
  put('dev/fuse');
  for (const name of ['runc', 'fusermount']) put(`usr/bin/${name}`, '', 0o755);
  mkdirSync(join(root, 'run/rafter'), { recursive: true, mode: 0o700 });
  mkdirSync(join(root, 'var/lib/rafter'), { recursive: true, mode: 0o700 });
}

/** What is wrong with the machine below `root`, as the user that the test is, or with other facts. */
function problems(
  facts: Partial<Machine> = {},
  load: (name: string) => void = () => undefined,
): Record<string, Finding> {
  vi.stubEnv('PATH', '/usr/bin');
  const machine = { ...thisMachine({ root }), node: '20.20.2', now: Date.UTC(2027, 0), ...facts };
  const places = { dataRoot: '/var/lib/rafter', runDir: '/run/rafter', load };
  // The disk below the test may be full; the test of space has its own.
  const plenty: Machine = { ...machine, directory: (path) => ({ ...machine.directory(path), free: 5e9 }) };
  const findings = checkMachine(facts.directory === undefined ? plenty : machine, places);
  return Object.fromEntries(findings.flatMap((one) => (one.status === 'ok' ? [] : [[one.check, one]])));
}

it('finds nothing wrong with a machine that has everything', () => {
  putGoodMachine();
  expect(problems({ euid: 0, directory: rootOwned() })).toEqual({});
});

/** Directories of the fake machine, as if root owned them. */
function rootOwned(facts: Partial<ReturnType<Machine['directory']>> = {}): Machine['directory'] {
  const machine = thisMachine({ root });
  return (path) => ({ ...machine.directory(path), uid: 0, free: 5e9, ...facts });
}

it.each([
  ['4.19.0', 'kernel', 'missing', '4.20'],
  ['6.1.0-18-amd64', 'kernel', 'limited', '6.9'],
  ['6.11.0', 'EROFS', 'limited', 'no loop devices: mounts use the driver fuse'],
  ['5.15.0', 'EROFS', 'limited', '5.16'],
])('says what Linux %s cannot do', (kernel, check, status, words) => {
  putGoodMachine(kernel);
  expect(problems()[check]).toMatchObject({
    status,
    meaning: expect.any(String),
    remedy: expect.stringContaining('kernel'),
  });
  expect(`${problems()[check]!.meaning} ${problems()[check]!.remedy}`).toContain(words);
});

it('mounts of a kernel that takes no files go through loop devices, where there are some', () => {
  putGoodMachine('6.11.0');
  put('dev/loop-control');
  expect(problems().EROFS).toMatchObject({
    status: 'limited',
    meaning: expect.stringMatching(/a loop device for each blob$/),
  });
});

it('takes a file system that can be loaded as a module for one that is there', () => {
  putGoodMachine();
  put('proc/filesystems', 'nodev\tfuse\nnodev\toverlay\n');
  expect(problems().EROFS).toMatchObject({ status: 'limited', found: 'missing' });
  put('lib/modules/6.12.3-amd64/modules.dep', 'kernel/fs/erofs/erofs.ko.xz: kernel/lib/lz4.ko.xz\n');
  expect(problems().EROFS).toBeUndefined();
});

it.each([
  ['FUSE', 'nodev\toverlay\n\terofs\n', 'CONFIG_FUSE_FS'],
  ['overlayfs', 'nodev\tfuse\n\terofs\n', 'CONFIG_OVERLAY_FS'],
])('says that a kernel lacks %s', (check, list, remedy) => {
  putGoodMachine();
  put('proc/filesystems', list);
  expect(problems()[check]).toMatchObject({ status: 'missing', remedy: expect.stringContaining(remedy) });
});

it('says that /dev/fuse is not there, or not for this user', () => {
  putGoodMachine();
  rmSync(join(root, 'dev/fuse'));
  expect(problems()['/dev/fuse']).toMatchObject({ status: 'missing', found: 'missing' });
  expect(problems({ device: () => false })['/dev/fuse']).toMatchObject({ found: 'no access' });
});

it('tells a user who is not root from a root who may not mount', () => {
  putGoodMachine();
  expect(problems({ euid: 1000 }).rights).toMatchObject({ status: 'limited', needed: ['mount', 'run'] });
  put('proc/self/status', 'CapEff:\t00000000a80425fb\n');
  expect(problems({ euid: 0 }).rights).toMatchObject({
    status: 'missing',
    remedy: expect.stringContaining('SYS_ADMIN'),
  });
});

it.each([
  ['runc', 'missing', 'apt-get install runc'],
  ['fusermount', 'limited', 'apt-get install fuse3'],
])('says that %s is not installed', (name, status, remedy) => {
  putGoodMachine();
  rmSync(join(root, `usr/bin/${name}`));
  expect(problems({ euid: 0 })[name]).toMatchObject({ status, remedy: expect.stringContaining(remedy) });
});

it('says that cgroups are not mounted', () => {
  putGoodMachine();
  put('proc/self/mounts', 'proc /proc proc rw 0 0\n');
  expect(problems().cgroups).toMatchObject({ status: 'missing', needed: ['run'] });
});

it('refuses a run directory that others can write to or own', () => {
  putGoodMachine();
  chmodSync(join(root, 'run/rafter'), 0o777);
  expect(problems()['run directory']).toMatchObject({
    status: 'missing',
    remedy: expect.stringContaining('chmod 700 /run/rafter'),
  });
  chmodSync(join(root, 'run/rafter'), 0o700);
  expect(problems({ directory: rootOwned({ uid: 4711 }) })['run directory']?.status).toBe('missing');
});

it('says that a data root cannot be written, is a file, or can be written by others', () => {
  putGoodMachine();
  expect(problems({ directory: rootOwned({ writable: false }) })['data root']?.remedy).toContain(
    '--data-root',
  );
  chmodSync(join(root, 'var/lib/rafter'), 0o770);
  expect(problems()['data root']?.remedy).toContain('chmod go-w /var/lib/rafter');
  rmSync(join(root, 'var/lib/rafter'), { recursive: true });
  put('var/lib/rafter');
  expect(problems()['data root']?.meaning).toBe('/var/lib/rafter is not a directory');
});

it('looks at the directory above if one is not there yet', () => {
  putGoodMachine();
  rmSync(join(root, 'var/lib'), { recursive: true });
  const machine = thisMachine({ root });
  expect(machine.directory('/var/lib/rafter')).toMatchObject({ path: '/var', exists: false, writable: true });
});

it.each([
  [4e9, undefined],
  [999e6, 'limited'],
  [49e6, 'missing'],
])('judges %d free bytes', (free, status) => {
  putGoodMachine();
  expect(problems({ directory: rootOwned({ free }) })['free space']?.status).toBe(status);
});

it('says that a native package does not load, and why', () => {
  putGoodMachine();
  const broken = problems({ euid: 0 }, () => {
    throw new Error('cannot load it', { cause: new Error('no such file\nRequire stack: x') });
  });
  expect(broken['zstd-napi']).toMatchObject({
    status: 'missing',
    found: 'does not load: no such file',
    remedy: expect.stringContaining('g++'),
  });
  expect(broken['fuse-native']).toMatchObject({ status: 'limited' });
});

it('says that Node.js is too old and that the clock is wrong', () => {
  putGoodMachine();
  expect(problems({ node: '20.11.1' })['Node.js']?.status).toBe('missing');
  expect(problems({ node: '22.1.0' })['Node.js']).toBeUndefined();
  expect(problems({ now: 0 }).clock).toMatchObject({ status: 'missing', found: '1970-01-01T00:00:00' });
});

it('reads the version of a kernel', () => {
  expect(parseRelease('6.12.3-amd64')).toEqual([6, 12]);
  expect(parseRelease('strange')).toEqual([0, 0]);
});
