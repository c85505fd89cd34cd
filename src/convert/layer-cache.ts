import { randomBytes } from 'node:crypto';
import { open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { DIGEST_SIZE, sha256 } from '../codec/digest.js';
import { makeDirectories } from '../os/make-directories.js';
import { KeptBlobs } from './kept-blobs.js';

/** Most bytes of all records together; the ones that were used longest ago go first. */
const DEFAULT_MAX_SIZE = 1 << 30;
/** Most bytes of one record, unpacked: a layer of some millions of files. */
const MAX_RECORD_SIZE = 1 << 30;
/** A record that is not written after so long belongs to nobody any more. */
const ABANDONED_MS = 3600 * 1000;
const TEMPORARY_PREFIX = 'new-';
const RECORD_NAME = /^[0-9a-f]{64}$/;

/**
 * Records of converted layers in a directory, a file each: the SHA-256 of what follows, then the record in gzip. Files
 * appear whole, by rename. It only saves work, so that what goes wrong with it is never an error: an unreadable or damaged record is not
 * there, and one that cannot be written is not kept.
 */
export class LayerCache {
  /** Blobs that records speak of and that only an interrupted conversion has. */
  readonly blobs: KeptBlobs;
  readonly #dir: string;
  readonly #maxSize: number;

  constructor(dir: string, { maxSize = DEFAULT_MAX_SIZE }: { maxSize?: number } = {}) {
    this.blobs = new KeptBlobs(join(dir, 'blobs'));
    this.#dir = dir;
    this.#maxSize = maxSize;
  }

  /** Removes what conversions that were killed left behind and nobody came back for. */
  async sweep(): Promise<void> {
    await this.blobs.sweep();
    for (const name of await readdir(this.#dir).catch(() => [])) {
      if (!name.startsWith(TEMPORARY_PREFIX)) continue;
      const path = join(this.#dir, name);
      const info = await stat(path).catch(() => undefined);
      if (info && Date.now() - info.mtimeMs > ABANDONED_MS) await rm(path, { force: true }).catch(() => {});
    }
  }

  /** The record under `key` (64 hexadecimal digits), or undefined. */
  async read(key: string): Promise<Buffer | undefined> {
    const path = join(this.#dir, key);
    try {
      const file = await readFile(path);
      const packed = file.subarray(DIGEST_SIZE);
      if (!sha256(packed).equals(file.subarray(0, DIGEST_SIZE))) {
        await rm(path, { force: true });
        return undefined;
      }
      const record = await promisify(gunzip)(packed, { maxOutputLength: MAX_RECORD_SIZE });
      const now = new Date();
      await utimes(path, now, now).catch(() => {});
      return record;
    } catch {
      return undefined;
    }
  }

  /** Keeps a record, and removes others if there are too many. */
  async write(key: string, record: Buffer): Promise<void> {
    const temporary = join(this.#dir, `${TEMPORARY_PREFIX}${randomBytes(8).toString('hex')}`);
    try {
      const packed = await promisify(gzip)(record, { level: 1 });
      if (DIGEST_SIZE + packed.length > this.#maxSize) return;
      await makeDirectories(this.#dir, 0o700);
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writev([sha256(packed), packed]);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, join(this.#dir, key));
      await this.#shrink();
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async #shrink(): Promise<void> {
    const names = (await readdir(this.#dir)).filter((name) => RECORD_NAME.test(name));
    const files = await Promise.all(
      names.map(async (name) => {
        const path = join(this.#dir, name);
        const info = await stat(path).catch(() => undefined);
        return { path, size: info?.size ?? 0, usedAt: info?.mtimeMs ?? 0 };
      }),
    );
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total <= this.#maxSize) return;
      await rm(path, { force: true });
      total -= size;
    }
  }
}
