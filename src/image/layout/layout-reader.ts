import type { FileHandle } from 'node:fs/promises';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, RafterError } from '../../errors.js';
import { systemReason } from '../../os/system-error.js';
import { type ArchiveFile, openArchive } from '../archive/archive-file.js';
import { algorithmOf, type Digest, hexOf } from '../descriptor.js';
import { type FileRange, readExactly, streamRange } from '../file-range.js';
import { blobPath } from './layout-files.js';

/** Reads the files of an OCI image layout, wherever it is. */
export interface LayoutReader {
  /** What messages call the file `name` of the layout. */
  pathOf(name: string): string;
  /**
   * A file such as index.json, whole; undefined if there is none. NOT_FOUND or USAGE if there is no layout to look in,
   * LIMIT_EXCEEDED above `limit` bytes.
   */
  readFile(name: string, limit: number): Promise<Buffer | undefined>;
  /** NOT_FOUND or DENIED, naming the blob, if it cannot be opened. */
  openBlob(digest: Digest): Promise<OpenBlob>;
  close(): Promise<void>;
}

/** A blob's bytes, unverified. */
export interface OpenBlob {
  readonly name: string;
  readonly size: number;
  /** TRUNCATED if the blob ends before. */
  read(part: FileRange): Promise<Buffer>;
  /** The whole blob, read or destroyed before `close`. */
  stream(): Readable;
  close(): Promise<void>;
}

/** Reads the layout in the directory `root`. Nothing stays open. */
export function layoutDirectory(root: string): LayoutReader {
  const pathOf = (name: string) => join(root, name);
  return {
    pathOf,
    async readFile(name, limit) {
      const path = pathOf(name);
      let handle: FileHandle;
      try {
        handle = await open(path, 'r');
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
        await checkDirectory(root);
        return undefined;
      }
      try {
        const { size } = await handle.stat();
        return await readExactly(handle, { offset: 0, size: checkSize(size, limit, path) }, path);
      } finally {
        await handle.close();
      }
    },
    async openBlob(digest) {
      const name = blobPath(root, digest);
      try {
        const handle = await open(name, 'r');
        const { size } = await handle.stat().catch(async (error: unknown) => {
          await handle.close();
          throw error;
        });
        return {
          name,
          size,
          read: (part) => readExactly(handle, part, name),
          stream: () => streamRange(handle, { offset: 0, size }, name),
          close: () => handle.close(),
        };
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') throw missing(name, error);
        const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED';
        throw new RafterError(code, `${name}: ${systemReason(error)}`, { cause: error });
      }
    },
    async close() {},
  };
}

/** Reads the layout in the tar `path`, which is opened at the first call and stays open. `tempDir`: see `openArchive`. */
export function layoutArchive(path: string, options: { tempDir?: string | undefined } = {}): LayoutReader {
  let opened: Promise<ArchiveFile> | undefined;
  const archive = () => (opened ??= openArchive(path, options));
  const pathOf = (name: string) => `${path}: ${name}`;
  return {
    pathOf,
    async readFile(name, limit) {
      const tar = await archive();
      const file = tar.find(name);
      if (file === undefined) return undefined;
      const size = checkSize(file.size, limit, pathOf(name));
      return tar.read(file, { offset: 0, size }, pathOf(name));
    },
    async openBlob(digest) {
      const tar = await archive();
      const inside = `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
      const name = pathOf(inside);
      const file = tar.find(inside);
      if (file === undefined) throw missing(name);
      return {
        name,
        size: file.size,
        read: (part) => tar.read(file, part, name),
        stream: () => tar.stream(file, name),
        close: async () => {},
      };
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

async function checkDirectory(root: string): Promise<void> {
  try {
    if ((await stat(root)).isDirectory()) return;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new RafterError('NOT_FOUND', `${root}: no such directory`, {
      cause: error,
      hint: 'an OCI layout is written oci:DIR[:TAG]',
    });
  }
  throw notDirectory(root);
}

/** What is said where a layout should be and something else is. */
export function notDirectory(path: string): RafterError {
  return new RafterError('USAGE', `${path}: not a directory`, {
    hint: 'for a tar file write oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]',
  });
}

function checkSize(size: number, limit: number, path: string): number {
  if (size <= limit) return size;
  throw new RafterError('LIMIT_EXCEEDED', `${path}: ${size} bytes, more than the limit of ${limit}`);
}

function missing(name: string, cause?: unknown): RafterError {
  return new RafterError('NOT_FOUND', `${name}: the blob is missing`, { cause });
}
