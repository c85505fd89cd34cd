import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { errnoOf, RafterError } from '../errors.js';
import { blobDigest } from '../image/blob-digest.js';
import type { Digest } from '../image/descriptor.js';
import type { CreateBlobOptions } from '../image/target.js';
import { isDiskFull } from '../os/disk-full.js';
import { openNameless } from '../os/nameless-file.js';
import type { RequestBody } from './transport.js';

/** A blob up to this many bytes is kept in memory and never becomes a file. */
const MEMORY_LIMIT = 1 << 20;
/** Bytes of one read of the file. */
const READ_SIZE = 256 << 10;

/**
 * A blob on its way to a registry, kept so that any part of it can be sent again: most registries forget an upload whose
 * connection was cut. It can be read while it is still being written.
 */
export interface Spool {
  /** Bytes written so far. */
  readonly size: number;
  /** Appends `bytes`, which may be reused afterwards. NO_SPACE if the disk is full. */
  write(bytes: Buffer): Promise<void>;
  /** Ends the writing and names what was written; DIGEST_MISMATCH if that is not `expected` (see BlobWriter). */
  finish(expected: Digest | undefined): { digest: Digest; size: number };
  /** Bytes [start, end) to send, as often as needed; without `end` all from `start`, those not yet written included. */
  body(start: number, end?: number): RequestBody;
  /** Drops everything. Bodies that wait for more end with an error. */
  remove(): Promise<void>;
}

interface File {
  handle: FileHandle;
  directory: string;
}

/** An empty spool. A file is made in `tempDir` (default: the system's) when memory is not enough; it has no name there. */
export function createSpool({
  tempDir = tmpdir(),
  ...options
}: CreateBlobOptions & { tempDir?: string | undefined }): Spool {
  const digest = blobDigest(options);
  let memory: Buffer[] = [];
  let file: File | undefined;
  let size = 0;
  let state: 'growing' | 'finished' | 'removed' = 'growing';
  let wake: (() => void)[] = [];
  const changed = () => {
    for (const resolve of wake.splice(0)) resolve();
  };

  async function readAt(position: number, length: number): Promise<Buffer> {
    if (file === undefined) return Buffer.concat(memory).subarray(position, position + length);
    const buffer = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.handle.read(buffer, 0, length, position);
    if (bytesRead === 0) throw new RafterError('FAILED', `${file.directory}: a kept blob has lost its end`);
    return buffer.subarray(0, bytesRead);
  }

  async function* bytes(start: number, end: number | undefined, starve: (is: boolean) => void) {
    for (let at = start; at !== end; ) {
      if (state === 'removed') throw new RafterError('INTERRUPTED', 'the upload of a blob was given up');
      const available = Math.min(end ?? size, size) - at;
      if (available > 0) {
        const piece = await readAt(at, Math.min(available, READ_SIZE));
        at += piece.length;
        yield piece;
      } else if (state === 'finished') {
        return;
      } else {
        starve(true);
        await new Promise<void>((resolve) => wake.push(resolve));
        starve(false);
      }
    }
  }

  return {
    get size() {
      return size;
    },
    async write(piece) {
      digest.update(piece);
      if (file === undefined && size + piece.length > MEMORY_LIMIT) {
        file = await createFile(tempDir);
        const kept = memory;
        memory = [];
        for (const earlier of kept) await append(file, earlier);
      }
      if (file === undefined) memory.push(Buffer.from(piece));
      else await append(file, piece);
      size += piece.length;
      changed();
    },
    finish(expected) {
      state = 'finished';
      changed();
      return digest.finish(expected);
    },
    body(start, end) {
      let isStarved = false;
      const starve = (is: boolean) => {
        isStarved = is;
      };
      const last = end ?? (state === 'finished' ? size : undefined);
      return {
        size: last === undefined ? undefined : last - start,
        open: () =>
          Readable.from(bytes(start, last, starve), { objectMode: false, highWaterMark: READ_SIZE }),
        isStarved: () => isStarved,
      };
    },
    async remove() {
      if (state === 'removed') return;
      state = 'removed';
      memory = [];
      changed();
      wake = [];
      await file?.handle.close();
    },
  };
}

async function createFile(directory: string): Promise<File> {
  try {
    return { handle: await openNameless(directory), directory };
  } catch (error) {
    throw cannotKeep(directory, error);
  }
}

async function append({ handle, directory }: File, bytes: Buffer): Promise<void> {
  try {
    await handle.writeFile(bytes);
  } catch (error) {
    throw cannotKeep(directory, error);
  }
}

function cannotKeep(directory: string, error: unknown): RafterError {
  const code = isDiskFull(error) ? 'NO_SPACE' : 'FAILED';
  return new RafterError(code, `${directory}: a blob cannot be kept there (${errnoOf(error)})`, {
    cause: error,
    hint: 'name a directory that can be written and has space in TMPDIR',
  });
}
