import { readFileSync } from 'node:fs';
import { RafterError } from '../errors.js';

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  id: number;
  /** `major:minor` of the mounted superblock: what `st_dev` of its files says. */
  device: string;
  /** Directory of the file system that is mounted. */
  root: string;
  mountPoint: string;
  /** Options of this mount (`ro`, `nosuid`, ...). */
  options: string[];
  /** File system type, with subtype: `fuse.rafter`. */
  type: string;
  source: string;
  /** Options of the file system. */
  superOptions: string[];
}

/** Fields in front of the optional ones, and behind the `-` that ends those. */
const FIXED_FIELDS = 6;
const TRAILING_FIELDS = 3;

/** Entries of a mountinfo text in its order, so that of two mounts at one place the later is on top. */
export function parseMountInfo(text: string): MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

/** The mounts that this process sees. */
export async function readMounts(): Promise<MountEntry[]> {
  return parseMountInfo(readMountInfo());
}

function readMountInfo(): string {
  return readFileSync('/proc/self/mountinfo', 'utf8');
}

/**
 * The topmost mount at exactly `path` (absolute, without symbolic links), if it is a mount point. Reads no file of
 * the mount itself, so it also answers for one whose server is dead.
 */
export async function findMount(path: string): Promise<MountEntry | undefined> {
  // Of hundreds of lines most need not be taken apart: the kernel writes these characters in another way, and all others as they are.
  const [longest = ''] = path.split(/[ \t\n\\#]/).sort((a, b) => b.length - a.length);
  const lines = readMountInfo()
    .split('\n')
    .filter((line) => line.includes(longest));
  return parseMountInfo(lines.join('\n')).findLast((entry) => entry.mountPoint === path);
}

/** True if something is mounted at exactly `path` (absolute, without symbolic links). */
export async function isMountPoint(path: string): Promise<boolean> {
  return (await findMount(path)) !== undefined;
}

function parseLine(line: string): MountEntry {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', FIXED_FIELDS);
  if (separator < 0 || fields.length < separator + 1 + TRAILING_FIELDS)
    throw new RafterError('MALFORMED', `mountinfo line has no type and source: ${line}`);
  return {
    id: Number(fields[0]),
    device: fields[2]!,
    root: unescapeOctal(fields[3]!),
    mountPoint: unescapeOctal(fields[4]!),
    options: fields[5]!.split(','),
    type: fields[separator + 1]!,
    source: unescapeOctal(fields[separator + 2]!),
    superOptions: fields[separator + 3]!.split(',').map(unescapeOctal),
  };
}

/** The kernel writes space, tab, newline, backslash and `#` as `\` and three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
