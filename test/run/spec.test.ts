import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RunConfig } from '../../src/image/config.js';
import { isKernelAtLeast } from '../../src/os/kernel.js';
import { resolveCommand } from '../../src/run/command.js';
import { buildEnvironment, type EnvironmentInput } from '../../src/run/environment.js';
import { parseOpenFilesLimit, throttleDirectories } from '../../src/run/machine.js';
import type { RunOptions } from '../../src/run/options.js';
import { DEFAULT_PROFILE } from '../../src/run/seccomp-default.js';
import { parseSecurityOptions } from '../../src/run/security-options.js';
import { buildSpec, type SpecInput } from '../../src/run/spec.js';
import { parseVolume } from '../../src/run/volume.js';

const config: RunConfig = { Entrypoint: ['/entry', '-x'], Cmd: ['one', 'two'] };
const usage = (message: RegExp) =>
  expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) });

describe('the command', () => {
  const cases: [string, RunConfig, RunOptions, string[]][] = [
    ['is entry point and Cmd of the image', config, {}, ['/entry', '-x', 'one', 'two']],
    ['has arguments in place of Cmd', config, { command: ['three'] }, ['/entry', '-x', 'three']],
    ['keeps Cmd without arguments', config, { command: [] }, ['/entry', '-x', 'one', 'two']],
    ['drops Cmd with --entrypoint', config, { entrypoint: 'sh' }, ['sh']],
    ['has --entrypoint and arguments', config, { entrypoint: 'sh', command: ['-c', ''] }, ['sh', '-c', '']],
    ['is arguments alone with an empty --entrypoint', config, { entrypoint: '', command: ['ls'] }, ['ls']],
    ['is Cmd alone', { Cmd: ['ls'], Entrypoint: null }, {}, ['ls']],
  ];
  it.each(cases)('%s', (_, image, options, args) => {
    expect(resolveCommand(image, options)).toEqual(args);
  });

  it('must be something', () => {
    expect(() => resolveCommand({}, {})).toThrowError(usage(/no command/));
    expect(() => resolveCommand(config, { entrypoint: '' })).toThrowError(usage(/no command/));
  });
});

describe('the environment', () => {
  const build = (input: Partial<EnvironmentInput>) =>
    buildEnvironment({ image: [], user: [], caller: {}, hostname: 'box', home: '/h', tty: false, ...input });

  it('has Docker’s defaults, TERM with a terminal only', () => {
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    expect(build({})).toEqual([path, 'HOSTNAME=box', 'HOME=/h']);
    expect(build({ tty: true })).toEqual([path, 'HOSTNAME=box', 'TERM=xterm', 'HOME=/h']);
  });

  it('prefers the user’s to the image’s to the default', () => {
    expect(
      build({ image: ['PATH=/i', 'A=1', 'B=2=3', 'HOME=/i'], user: ['A=9', 'HOME=/u', 'C='], tty: false }),
    ).toEqual(['PATH=/i', 'HOSTNAME=box', 'A=9', 'B=2=3', 'HOME=/u', 'C=']);
  });

  it('takes -e NAME from the caller, and removes it if the caller has none', () => {
    expect(
      build({ image: ['PATH=/i', 'A=1', 'B=2'], user: ['A', 'B', 'C'], caller: { B: 'mine', D: 'no' } }),
    ).toEqual(['PATH=/i', 'HOSTNAME=box', 'B=mine', 'HOME=/h']);
  });

  it('passes over what is no variable in the image, and refuses it from the user', () => {
    expect(build({ image: ['junk', '=x', ''] })).toHaveLength(3);
    for (const user of ['', '=x']) expect(() => build({ user: [user] })).toThrowError(usage(/has no name/));
  });
});

describe('a volume', () => {
  it('is read with its mode and a normalized destination', () => {
    expect(parseVolume('/a:/b')).toEqual({ source: '/a', destination: '/b', readOnly: false });
    expect(parseVolume('/a/../c:/b//d/:ro')).toEqual({ source: '/c', destination: '/b/d', readOnly: true });
    expect(parseVolume('/a:/b:rw').readOnly).toBe(false);
  });

  it('may be relative to the working directory, with a dot', () => {
    expect(parseVolume('./x:/b').source).toBe(`${process.cwd()}/x`);
    expect(parseVolume('.:/b').source).toBe(process.cwd());
  });

  it.each([
    ['/a', /is not HOST:CONTAINER/],
    [':/b', /is not HOST:CONTAINER/],
    ['/a:', /is not HOST:CONTAINER/],
    ['/a:/b:ro:x', /is not HOST:CONTAINER/],
    ['name:/b', /named volume/],
    ['.hidden:/b', /named volume/],
    ['/a:b', /'b' is not an absolute path/],
    ['/a:/', /its own \//],
    ['/a:/b/..', /its own \//],
    ['/a:/b:z', /'z' is neither/],
  ])('%s is refused', (text, message) => {
    expect(() => parseVolume(text)).toThrowError(usage(message));
  });
});

describe('the runtime configuration', () => {
  const root = { uid: 0, gid: 0, additionalGids: [0], home: '/root' };
  const machine: SpecInput['machine'] = {
    env: {},
    arch: 'x64',
    kernel: '6.12.0',
    throttleDirectories: [],
    openFilesLimit: 1_048_576,
    recursiveReadOnly: true,
    terminal: { width: 80, height: 24 },
  };
  const spec = (options: RunOptions = {}, input: Partial<SpecInput> = {}) =>
    buildSpec({
      config,
      options,
      user: root,
      hostname: 'box',
      volumes: [],
      security: { seccomp: DEFAULT_PROFILE, noNewPrivileges: false },
      machine,
      ...input,
    });

  it('has namespaces of its own but for the network, which --net none adds', () => {
    const types = (options: RunOptions) => spec(options).linux.namespaces.map(({ type }) => type);
    expect(types({})).toEqual(['pid', 'mount', 'ipc', 'uts', 'cgroup']);
    expect(types({ network: 'none' })).toContain('network');
    expect(spec({}).linux.sysctl).toEqual({});
    expect(spec({ network: 'none' }).linux.sysctl).toHaveProperty(['net.ipv4.ping_group_range']);
  });

  it('gives root Docker’s 14 capabilities, other users only the chance to gain them', () => {
    const { capabilities } = spec().process;
    expect(capabilities.effective).toHaveLength(14);
    expect(capabilities.effective).not.toContain('CAP_SYS_ADMIN');
    expect(capabilities.permitted).toEqual(capabilities.bounding);
    expect(capabilities.inheritable).toBeUndefined();
    const other = spec({}, { user: { ...root, uid: 1 } }).process.capabilities;
    expect(other).toEqual({ bounding: capabilities.bounding });
  });

  it('sets a limit of open files, never above the one of this process', () => {
    const limit = (openFilesLimit: number) =>
      spec({}, { machine: { ...machine, openFilesLimit } }).process.rlimits[0];
    expect(limit(1_048_576)).toEqual({ type: 'RLIMIT_NOFILE', soft: 1024, hard: 524_288 });
    expect(limit(4096)).toMatchObject({ soft: 1024, hard: 4096 });
    expect(limit(512)).toMatchObject({ soft: 512, hard: 512 });
  });

  it('has a terminal of the caller’s size with -t only', () => {
    expect(spec({ tty: true }).process).toMatchObject({
      terminal: true,
      consoleSize: { width: 80, height: 24 },
    });
    expect(spec().process.terminal).toBe(false);
    expect(spec().process).not.toHaveProperty('consoleSize');
  });

  it('starts in -w, else in the image’s directory, which may lack its slash, else in /', () => {
    const image = { ...config, WorkingDir: 'srv/app' };
    expect(spec({ workdir: '/w' }, { config: image }).process.cwd).toBe('/w');
    expect(spec({}, { config: image }).process.cwd).toBe('/srv/app');
    expect(spec().process.cwd).toBe('/');
    expect(() => spec({ workdir: 'w' })).toThrowError(usage(/'w' is not an absolute path/));
  });

  it('mounts volumes behind the defaults, outer ones first, read-only ones with all below', () => {
    const mounts = spec(
      {},
      { volumes: [parseVolume('/1:/a/b/c'), parseVolume('/2:/a:ro'), parseVolume('/3:/a/b')] },
    ).mounts;
    expect(mounts.slice(0, 2).map(({ destination }) => destination)).toEqual(['/proc', '/dev']);
    expect(mounts.slice(-3).map(({ source }) => source)).toEqual(['/2', '/3', '/1']);
    expect(mounts.at(-3)?.options).toEqual(['rbind', 'rprivate', 'ro', 'rro']);
    expect(mounts.at(-1)?.options).toEqual(['rbind', 'rprivate', 'rw']);
    const old = { ...machine, recursiveReadOnly: false };
    expect(
      spec({}, { machine: old, volumes: [parseVolume('/2:/a:ro')] }).mounts.at(-1)?.options,
    ).not.toContain('rro');
  });

  it('hides what Docker hides, also how hot each processor is', () => {
    const throttle = '/sys/devices/system/cpu/cpu0/thermal_throttle';
    const { maskedPaths } = spec({}, { machine: { ...machine, throttleDirectories: [throttle] } }).linux;
    expect(maskedPaths).toHaveLength(13);
    expect(maskedPaths).toContain(throttle);
  });

  it('has Docker’s seccomp profile, another one or none, and may refuse new privileges', async () => {
    expect(await parseSecurityOptions([])).toEqual({ seccomp: DEFAULT_PROFILE, noNewPrivileges: false });
    expect(spec().linux.seccomp).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO' });
    const open = await parseSecurityOptions(['seccomp=unconfined', 'no-new-privileges']);
    expect(spec({}, { security: open }).linux).not.toHaveProperty('seccomp');
    expect(spec({}, { security: open }).process.noNewPrivileges).toBe(true);
    const texts = ['seccomp:unconfined', 'seccomp=builtin', 'no-new-privileges:false'];
    const last = await parseSecurityOptions(texts);
    expect(spec({}, { security: last })).toMatchObject({
      process: { noNewPrivileges: false },
      linux: { seccomp: { defaultErrnoRet: 1 } },
    });
    for (const wrong of ['seccomp', 'seccomp=', 'no-new-privileges=yes', 'label=disable', ''])
      await expect(parseSecurityOptions([wrong])).rejects.toThrowError(
        usage(/--security-opt '.*' is not known/),
      );
  });

  it('has the root file system, user and host name that it is given', () => {
    const user = { uid: 5, gid: 6, additionalGids: [6, 7], home: '/five' };
    const made = spec({ readOnly: true }, { user });
    expect(made).toMatchObject({ hostname: 'box', root: { path: 'rootfs', readonly: true } });
    expect(made.process.user).toEqual({ uid: 5, gid: 6, additionalGids: [6, 7] });
    expect(made.process.env).toContain('HOME=/five');
    expect(made.process.noNewPrivileges).toBe(false);
    expect(made.linux.maskedPaths).toContain('/proc/kcore');
    expect(made.linux.readonlyPaths).toContain('/proc/sys');
  });
});

describe('the machine', () => {
  it('tells kernel versions in order', () => {
    expect(isKernelAtLeast(5, 12, '5.12.0')).toBe(true);
    expect(isKernelAtLeast(5, 12, '5.11.99-generic')).toBe(false);
    expect(isKernelAtLeast(5, 12, '6.1.0-28-amd64')).toBe(true);
    expect(isKernelAtLeast(5, 12, '4.19')).toBe(false);
  });

  it('finds the processors that say how hot they are', () => {
    const processors = mkdtempSync(join(tmpdir(), 'rafter-cpus-'));
    try {
      for (const name of ['cpu0/thermal_throttle', 'cpu1', 'cpufreq/thermal_throttle'])
        mkdirSync(join(processors, name), { recursive: true });
      expect(throttleDirectories(processors)).toEqual([join(processors, 'cpu0/thermal_throttle')]);
      expect(throttleDirectories(join(processors, 'none'))).toEqual([]);
    } finally {
      rmSync(processors, { recursive: true });
    }
  });

  it('reads the hard limit of open files', () => {
    const limits =
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n';
    expect(parseOpenFilesLimit(limits)).toBe(4096);
    expect(parseOpenFilesLimit(limits.replace(/1024( +)4096/, 'unlimited$1unlimited'))).toBe(
      Number.POSITIVE_INFINITY,
    );
  });
});
