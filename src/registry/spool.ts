import { createReadStream } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, RafterError } from '../errors.js';
import { blobDigest } from '../image/blob-digest.js';
import type { Digest } from '../image/descriptor.js';
import type { CreateBlobOptions } from '../image/target.js';

/** A blob kept in a temporary file, because its digest has to be known before a registry takes it in one request. */
export interface Spool {
  write(bytes: Buffer): Promise<void>;
  /** Ends the writing and names what was written; DIGEST_MISMATCH if that is not `expected` (see BlobWriter). */
  finish(expected: Digest | undefined): Promise<{ digest: Digest; size: number }>;
  /** The content from its beginning; as often as needed, after `finish`. */
  read(): Readable;
  remove(): Promise<void>;
}

/** A new spool in a directory of its own below `tempDir` (default: the system's). */
export async function createSpool({
  tempDir = tmpdir(),
  ...options
}: CreateBlobOptions & { tempDir?: string | undefined }): Promise<Spool> {
  const directory = await mkdtemp(join(tempDir, 'rafter-upload-'));
  const path = join(directory, 'blob');
  let handle: FileHandle;
  try {
    handle = await open(path, 'wx', 0o600);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  const digest = blobDigest(options);
  return {
    async write(bytes) {
      digest.update(bytes);
      try {
        await handle.writeFile(bytes);
      } catch (error) {
        const code = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '') ? 'NO_SPACE' : 'FAILED';
        throw new RafterError(code, `${directory}: a blob cannot be kept there (${errnoOf(error)})`, {
          cause: error,
          hint: 'name a directory with more space in TMPDIR',
        });
      }
    },
    async finish(expected) {
      await handle.close();
      return digest.finish(expected);
    },
    read: () => createReadStream(path, { highWaterMark: 1 << 20 }),
    async remove() {
      await handle.close().catch(() => {});
      await rm(directory, { recursive: true, force: true });
    },
  };
}
