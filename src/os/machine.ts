import { accessSync, constants, readFileSync, statfsSync, statSync } from 'node:fs';
import { arch, release } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

/** What this machine has, read when it is asked for. Paths are as in the kernel's root directory. */
export interface Machine {
  /** Linux version as numbers: `[6, 12]`. */
  kernel: readonly [number, number];
  /** `x64`, `arm64`, ... */
  arch: string;
  /** Version of Node.js, without `v`. */
  node: string;
  /** Milliseconds since 1970. */
  now: number;
  euid: number;
  /** May mount file systems: CAP_SYS_ADMIN is effective. */
  mayMount: boolean;
  /** `ready`: the kernel has it; `module`: it can load it; or `missing`. */
  fileSystem(name: string): 'ready' | 'module' | 'missing';
  /** True if this process may read and write the device file. Undefined if it does not exist. */
  device(path: string): boolean | undefined;
  /** Path of an executable in PATH or the directories of system programs. */
  program(name: string): string | undefined;
  /** True if a file system of one of these types is mounted. */
  hasMountOf(...types: string[]): boolean;
  /** The directory, or the nearest one above it that exists. */
  directory(path: string): DirectoryFacts;
}

/** A directory that exists, and what can be done there. */
export interface DirectoryFacts {
  path: string;
  /** It is the one that was asked for, not one above it. */
  exists: boolean;
  isDirectory: boolean;
  uid: number;
  mode: number;
  writable: boolean;
  /** Bytes that this user may still write. */
  free: number;
}

/** Bit of CAP_SYS_ADMIN in the capability sets of /proc/self/status. */
const CAP_SYS_ADMIN = 21n;
/** Where root's programs are also when the caller's PATH is a plain user's. */
const SYSTEM_PATHS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** This machine. Everything below `root` is looked at there instead: a test's own /proc, /dev and /lib. */
export function thisMachine({ root = '/' }: { root?: string } = {}): Machine {
  const kernelRelease = readText(join(root, 'proc/sys/kernel/osrelease')).trim() || release();
  return {
    kernel: parseRelease(kernelRelease),
    arch: arch(),
    node: process.versions.node,
    now: Date.now(),
    euid: process.geteuid?.() ?? 0,
    mayMount: hasSysAdmin(readText(join(root, 'proc/self/status'))),
    fileSystem: (name) => fileSystemState(root, kernelRelease, name),
    device: (path) => {
      const file = join(root, path);
      if (statSync(file, { throwIfNoEntry: false }) === undefined) return undefined;
      return mayAccess(file, constants.R_OK | constants.W_OK);
    },
    program: (name) =>
      [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_PATHS]
        .filter((directory) => directory.startsWith('/'))
        .map((directory) => join(root, directory, name))
        .find((path) => mayAccess(path, constants.X_OK)),
    hasMountOf: (...types) =>
      readText(join(root, 'proc/self/mounts'))
        .split('\n')
        .some((line) => types.includes(line.split(' ')[2] ?? '')),
    directory: (path) => directoryFacts(root, path),
  };
}

/** `6.12.3-amd64` as `[6, 12]`; zeros for what is no version. */
export function parseRelease(text: string): readonly [number, number] {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return [Number(major), Number(minor)];
}

/** True if a process with this /proc/PID/status may mount. */
function hasSysAdmin(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

function fileSystemState(root: string, kernelRelease: string, name: string): 'ready' | 'module' | 'missing' {
  const known = readText(join(root, 'proc/filesystems'))
    .split('\n')
    .map((line) => line.split('\t').at(-1));
  if (known.includes(name)) return 'ready';
  for (const list of ['modules.dep', 'modules.builtin']) {
    const text = readText(join(root, 'lib/modules', kernelRelease, list));
    if (new RegExp(`/${name}\\.ko`).test(text)) return 'module';
  }
  return 'missing';
}

function directoryFacts(root: string, path: string): DirectoryFacts {
  for (let at = path; ; at = dirname(at)) {
    const place = join(root, at);
    const found = statSync(place, { throwIfNoEntry: false });
    if (found === undefined && at !== '/') continue;
    const { bavail, bsize } = statfsSync(place);
    return {
      path: at,
      exists: at === path,
      isDirectory: found?.isDirectory() ?? false,
      uid: found?.uid ?? 0,
      mode: found?.mode ?? 0,
      writable: mayAccess(place, constants.W_OK | constants.X_OK),
      free: bavail * bsize,
    };
  }
}

function mayAccess(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** Empty for a file that cannot be read: this machine then does not say. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
