import { randomBytes } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, link, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isRafterError, RafterError } from '../errors.js';
import { type Descriptor, type Digest, hexOf } from '../image/descriptor.js';
import type { ImageTarget } from '../image/target.js';
import { makeDirectories } from '../os/make-directories.js';

/** Most bytes of all kept blobs; the oldest go first. */
const DEFAULT_MAX_SIZE = 32 * 2 ** 30;
/** How long a blob is kept if the conversion that it is for is not begun again. */
const KEPT_MS = 3 * 24 * 3600 * 1000;
/** A file that is not finished after so long belongs to nobody any more. */
const ABANDONED_MS = 3600 * 1000;
const BLOB_NAME = /^[0-9a-f]{64}$/;
const READ_SIZE = 1 << 20;

type Blob = Pick<Descriptor, 'digest' | 'size'>;

/**
 * Finished blobs of conversions that have not ended, for targets that drop what is not committed: an interrupted conversion
 * goes on with them. Each is a hard link to the target's file, which costs nothing, or a copy where the target is on another
 * file system. It only saves work, so that a blob that cannot be kept is not an error; what is taken out again is verified.
 */
export class KeptBlobs {
  readonly #dir: string;
  readonly #maxSize: number;
  /** Those of this conversion, and whether they share the target's file. */
  readonly #own = new Map<Digest, { linked: boolean }>();

  constructor(dir: string, { maxSize = DEFAULT_MAX_SIZE }: { maxSize?: number } = {}) {
    this.#dir = dir;
    this.#maxSize = maxSize;
  }

  /** Keeps a finished blob of `target`, unless the target itself keeps it. */
  async keep(target: ImageTarget, { digest, size }: Blob): Promise<void> {
    const file = await target.stagedFile?.(digest);
    if (file === undefined || size > this.#maxSize) return;
    try {
      await makeDirectories(this.#dir, 0o700);
      this.#own.set(digest, { linked: await this.#store(file, this.#path(digest)) });
      await this.#shrink();
    } catch {
      // Not kept.
    }
  }

  /**
   * Writes a kept blob to `target`. False if it is not there or damaged, in which case it is gone. Throws what the target
   * throws.
   */
  async restore(
    target: ImageTarget,
    { digest, size }: Blob,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const path = this.#path(digest);
    if ((await stat(path).catch(() => undefined))?.size !== size) return false;
    const writer = await target.createBlob(signal);
    try {
      for await (const piece of readPieces(path)) await writer.write(piece);
      await writer.commit(digest);
      this.#own.set(digest, { linked: false });
      return true;
    } catch (error) {
      if (!isRafterError(error, 'DIGEST_MISMATCH')) throw error;
      await this.#remove(digest);
      return false;
    } finally {
      await writer.abort();
    }
  }

  /** Lets go of this conversion's blobs: it has ended. With `linkedOnly` of those that hold the target's space. */
  async release({ linkedOnly = false }: { linkedOnly?: boolean } = {}): Promise<void> {
    for (const [digest, { linked }] of this.#own) {
      if (linked || !linkedOnly) await this.#remove(digest);
    }
  }

  /** Removes what nobody came back for. */
  async sweep(): Promise<void> {
    for (const { path, name, usedAt } of await this.#files()) {
      const limit = BLOB_NAME.test(name) ? KEPT_MS : ABANDONED_MS;
      if (Date.now() - usedAt > limit) await rm(path, { force: true }).catch(() => {});
    }
  }

  #path(digest: Digest): string {
    return join(this.#dir, hexOf(digest));
  }

  /** True if it became a link. */
  async #store(file: string, path: string): Promise<boolean> {
    try {
      await link(file, path);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') {
        const now = new Date();
        await utimes(path, now, now);
        return false;
      }
    }
    const temporary = join(this.#dir, `new-${randomBytes(8).toString('hex')}`);
    try {
      await copyFile(file, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      await rename(temporary, path);
      return false;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async #remove(digest: Digest): Promise<void> {
    this.#own.delete(digest);
    await rm(this.#path(digest), { force: true }).catch(() => {});
  }

  async #shrink(): Promise<void> {
    const files = (await this.#files()).filter(({ name }) => BLOB_NAME.test(name));
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total <= this.#maxSize) return;
      await rm(path, { force: true });
      total -= size;
    }
  }

  async #files() {
    const names = await readdir(this.#dir).catch(() => []);
    return Promise.all(
      names.map(async (name) => {
        const path = join(this.#dir, name);
        const info = await stat(path).catch(() => undefined);
        return { name, path, size: info?.size ?? 0, usedAt: info?.mtimeMs ?? Date.now() };
      }),
    );
  }
}

/** A kept file's bytes; that it cannot be read is damage like any other. */
async function* readPieces(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: READ_SIZE }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new RafterError('DIGEST_MISMATCH', `${path}: it cannot be read`, { cause: error });
  }
}
