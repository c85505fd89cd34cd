import { type FileHandle, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, RafterError } from '../../errors.js';
import { appendAll } from '../../os/append-all.js';
import { explainFull } from '../../os/disk-full.js';
import { makeDirectories } from '../../os/make-directories.js';
import { createWriteBehind, type WriteBehind } from '../../os/write-behind.js';
import type { BlobDigest } from '../blob-digest.js';
import type { Digest } from '../descriptor.js';
import type { BlobWriter } from '../target.js';
import { blobPath } from './layout-files.js';

interface StagedBlobOptions {
  handle: FileHandle;
  temporary: string;
  stage: string;
  signal: AbortSignal | undefined;
  digest: BlobDigest;
  ended(): void;
}

/** A blob in the stage: written under a passing name, renamed to its digest when it is whole and on disk. */
export class StagedBlob implements BlobWriter {
  readonly #options: StagedBlobOptions;
  readonly #behind: WriteBehind;
  #size = 0;
  #failed = false;
  #ended = false;

  constructor(options: StagedBlobOptions) {
    this.#options = options;
    this.#behind = createWriteBehind(options.handle);
  }

  write(bytes: Buffer): Promise<void> {
    return this.writeAll([bytes]);
  }

  async writeAll(pieces: Buffer[]): Promise<void> {
    const { handle, stage, signal, digest } = this.#options;
    if (signal?.aborted) throw new RafterError('INTERRUPTED', 'writing a blob was interrupted');
    for (const piece of pieces) digest.update(piece);
    try {
      this.#size += await appendAll(handle, pieces);
      this.#behind.grown(this.#size);
    } catch (error) {
      this.#failed = true;
      const place = dirname(stage);
      const full = explainFull(error, place);
      if (full !== error) throw full;
      throw new RafterError('FAILED', `${place}: a blob cannot be written (${errnoOf(error)})`, {
        cause: error,
      });
    }
  }

  async commit(expected?: Digest): Promise<{ digest: Digest; size: number }> {
    if (this.#failed || this.#ended) throw new Error('commit of a blob whose writing failed or ended');
    const { handle, temporary, stage } = this.#options;
    // Until it is stored: a second try has nothing to stand on.
    this.#failed = true;
    const blob = this.#options.digest.finish(expected);
    await this.#behind.idle();
    await handle.sync();
    await handle.close();
    const place = blobPath(stage, blob.digest);
    await makeDirectories(dirname(place));
    await rename(temporary, place);
    this.#end();
    return blob;
  }

  async abort(): Promise<void> {
    if (this.#ended) return;
    this.#end();
    await this.#behind.idle();
    await this.#options.handle.close().catch(() => {});
    await rm(this.#options.temporary, { force: true });
  }

  #end(): void {
    this.#ended = true;
    this.#options.ended();
  }
}
