import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isRafterError, RafterError } from '../errors.js';
import { below } from '../os/below.js';
import { explainFull } from '../os/disk-full.js';
import { makeNode, setTime, setXattr, syncFileSystem } from '../os/inode.js';
import { removeTree } from '../os/remove-tree.js';
import { systemReason } from '../os/system-error.js';
import type { DiskInode } from '../rafs/bootstrap.js';
import { mostNames, tooManyNames, type WalkEntry } from '../rafs/walk.js';
import { type ContentReader, createContentReader } from './content.js';
import { joinPath } from './find-path.js';
import type { OpenImage } from './open-image.js';

/** Directories below each other; each that is under way keeps a file open. */
const MAX_DEPTH = 500;
const ELSEWHERE = 'name a directory that does not exist yet, or an empty one';

export interface UnpackSummary {
  directory: string;
  names: number;
  /** Bytes of all files. */
  bytes: number;
}

export interface UnpackOptions {
  signal?: AbortSignal | undefined;
  /** Told how many bytes of files have been written. */
  onBytes?: (bytes: number) => void;
}

/** What one unpacking has at hand. */
interface Work {
  image: OpenImage;
  content: ContentReader;
  options: UnpackOptions;
  summary: UnpackSummary;
  /** Open directory that becomes the root. */
  rootFd: number;
  /** Where the first name of an inode with several was made. */
  linked: Map<number, Buffer>;
}

/**
 * Writes the whole tree of an image to `directory`, which must not exist or be empty: owners, modes, times to the nanosecond,
 * extended attributes, hard links, devices. It is made beside the directory, where nobody else can reach it, and appears whole
 * or not at all. Every name is made below an open directory, never through a symlink.
 * Throws DENIED if the process is not root, USAGE for a directory in use, UNSUPPORTED for what the file system there cannot
 * hold, and what reading the image throws.
 */
export async function unpackImage(
  image: OpenImage,
  directory: string,
  options: UnpackOptions = {},
): Promise<UnpackSummary> {
  const target = resolve(directory);
  requireRoot();
  requireEmpty(target);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.rafter`);
  makeTemporary(temporary);
  try {
    const rootFd = openDirectory(Buffer.from(temporary));
    const summary: UnpackSummary = { directory: target, names: 1, bytes: 0 };
    try {
      const content = createContentReader(image, { everything: true, signal: options.signal });
      const work: Work = { image, content, options, summary, rootFd, linked: new Map() };
      const { bootstrap } = image;
      const root = { path: Buffer.from('/'), inode: bootstrap.inode(bootstrap.rootNid) };
      const seen = new Set([root.inode.nid]);
      await writeDirectory(work, { ...root, fd: rootFd, depth: 0, seen });
      setAttributes(work, below(rootFd, Buffer.from('.')), root.inode);
      syncFileSystem(rootFd);
    } finally {
      closeSync(rootFd);
    }
    requireEmpty(target);
    renameSync(temporary, target);
    syncDirectory(dirname(target));
    return summary;
  } catch (error) {
    removeTree(temporary);
    const { cause } = error as { cause?: unknown };
    const full = explainFull(cause, target);
    throw full === cause ? error : full;
  }
}

function requireRoot(): void {
  if (process.geteuid?.() === 0) return;
  throw new RafterError('DENIED', 'unpack sets owners and makes devices, which needs root', {
    hint: 'run it with sudo',
  });
}

function requireEmpty(target: string): void {
  const found = lstatSync(target, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isDirectory())
    throw new RafterError('USAGE', `${target} exists and is not a directory`, { hint: ELSEWHERE });
  if (readdirSync(target).length > 0)
    throw new RafterError('USAGE', `${target} is not empty`, { hint: ELSEWHERE });
}

function makeTemporary(path: string): void {
  try {
    mkdirSync(path, 0o700);
  } catch (cause) {
    throw new RafterError('FAILED', `cannot make a directory in ${dirname(path)}: ${systemReason(cause)}`, {
      cause,
    });
  }
}

interface OpenDirectory extends WalkEntry {
  fd: number;
  depth: number;
  /** Directories that have been reached: a second name would make a loop possible. */
  seen: Set<number>;
}

async function writeDirectory(work: Work, dir: OpenDirectory): Promise<void> {
  const { bootstrap } = work.image;
  for (const { name, nid } of bootstrap.readdir(dir.inode)) {
    const text = name.toString('latin1');
    if (text === '.' || text === '..') continue;
    work.options.signal?.throwIfAborted();
    const path = joinPath(dir.path, name);
    if (work.summary.names++ > mostNames(bootstrap)) throw tooManyNames(bootstrap);
    await writeEntry(work, dir, { path, name, inode: bootstrap.inode(nid) });
  }
}

/** Errors of `body` are to say which path they are about. */
async function naming<T>(path: Buffer, body: () => T | Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (isRafterError(error, 'INTERRUPTED')) throw error;
    const known = isRafterError(error) ? error : undefined;
    throw new RafterError(known?.code ?? 'FAILED', `${path}: ${systemReason(error)}`, {
      cause: error,
      ...(known?.hint !== undefined && { hint: known.hint }),
    });
  }
}

async function writeEntry(
  work: Work,
  dir: OpenDirectory,
  { path, name, inode }: WalkEntry & { name: Buffer },
): Promise<void> {
  const place = below(dir.fd, name);
  if (inode.type !== 'dir') {
    await naming(path, () => writeLeaf(work, place, { path, inode }));
    return;
  }
  const fd = await naming(path, () => {
    if (dir.seen.has(inode.nid)) throw new RafterError('MALFORMED', `directory ${inode.nid} has two names`);
    if (dir.depth >= MAX_DEPTH)
      throw new RafterError('LIMIT_EXCEEDED', `more than ${MAX_DEPTH} directories below each other`);
    dir.seen.add(inode.nid);
    mkdirSync(place, 0o700);
    return openDirectory(place);
  });
  try {
    await writeDirectory(work, { path, inode, fd, depth: dir.depth + 1, seen: dir.seen });
  } finally {
    closeSync(fd);
  }
  await naming(path, () => setAttributes(work, place, inode));
}

async function writeLeaf(work: Work, place: Buffer, { path, inode }: WalkEntry): Promise<void> {
  const first = inode.nlink > 1 ? work.linked.get(inode.nid) : undefined;
  if (first) {
    linkSync(first, place);
    return;
  }
  await makeInode(work, place, inode);
  if (inode.nlink > 1) work.linked.set(inode.nid, below(work.rootFd, path.subarray(1)));
  setAttributes(work, place, inode);
}

async function makeInode(work: Work, place: Buffer, inode: DiskInode): Promise<void> {
  switch (inode.type) {
    case 'file':
      return writeFile(work, place, inode);
    case 'symlink':
      return symlinkSync(work.image.bootstrap.readlink(inode), place);
    default:
      makeNode(place, inode.mode, inode.rdev ?? { major: 0, minor: 0 });
  }
}

async function writeFile(
  { content, summary, options }: Work,
  place: Buffer,
  inode: DiskInode,
): Promise<void> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const file = await open(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    for await (const bytes of content.read(inode)) {
      await file.writeFile(bytes);
      summary.bytes += bytes.length;
      options.onBytes?.(summary.bytes);
    }
  } finally {
    await file.close();
  }
}

/** Owner before mode and xattrs: changing it takes set-id bits and capabilities away. The time comes last. */
function setAttributes({ image }: Work, place: Buffer, inode: DiskInode): void {
  lchownSync(place, inode.uid, inode.gid);
  if (inode.type !== 'symlink') chmodSync(place, inode.mode & 0o7777);
  for (const { name, value } of image.bootstrap.xattrs(inode)) setXattr(place, name, value);
  setTime(place, { seconds: inode.mtimeSec, nanoseconds: inode.mtimeNsec });
}

function openDirectory(path: Buffer): number {
  return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
