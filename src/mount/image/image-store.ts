import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as v from 'valibot';
import {
  algorithmOf,
  type Descriptor,
  type Digest,
  descriptorSchema,
  hexOf,
} from '../../image/descriptor.js';
import { MAX_MANIFEST_SIZE } from '../../image/manifest.js';
import { verifiedStream } from '../../image/verified-stream.js';
import { makeDirectories } from '../../os/make-directories.js';
import { fillWholeFile, writeWholeFile } from '../../os/whole-file.js';

/**
 * What must be here to mount an image again without its registry: manifests, configurations and bootstrap layers by
 * digest, chunk maps by blob, and which digest a reference meant last. Files appear whole or not at all, and are checked
 * against their digest each time they are read; a damaged one counts as missing.
 *
 *     <dir>/blobs/sha256/<hex>     manifest, index, configuration or bootstrap layer
 *     <dir>/maps/<hex>             end of the blob with that digest: a chunk map as stored
 *     <dir>/refs/<hash>.json       last known digest of a reference
 *     <dir>/uses/<hash>.json       what of the above, and which blobs, an image needs
 */
export interface ImageStore {
  /** The content that `descriptor` names, or undefined if it is not here. At most some megabytes: read whole. */
  readBlob(descriptor: Descriptor): Promise<Buffer | undefined>;
  /** As `readBlob` where no descriptor tells the size: a manifest or index, so undefined, too, for more than MAX_MANIFEST_SIZE bytes. */
  readNamed(digest: Digest): Promise<Buffer | undefined>;
  /** As `readBlob`, as a stream that ends with DIGEST_MISMATCH or TRUNCATED if the file is damaged. */
  openBlob(descriptor: Descriptor): Promise<Readable | undefined>;
  /**
   * Keeps `content`, which whoever gives it has verified: its stream ends with an error where the bytes are not what `descriptor`
   * names, and nothing is kept then. Hashing it a second time would cost a start more than reading it.
   */
  writeBlob(descriptor: Descriptor, content: Readable): Promise<void>;
  /** True if all that `descriptors` and the chunk maps `maps` name is here, as far as sizes tell. */
  holds(descriptors: readonly Descriptor[], maps: readonly string[]): Promise<boolean>;
  /** Removes one that turned out to be damaged. */
  removeBlob(descriptor: Descriptor): Promise<void>;
  /** A chunk map, by the hexadecimal digest of the object that holds it. */
  readMap(name: string): Promise<Buffer | undefined>;
  writeMap(name: string, bytes: Buffer): Promise<void>;
  removeMap(name: string): Promise<void>;
  /** What `reference` (its canonical text) meant when it was last looked up. */
  recallReference(reference: string): Promise<Descriptor | undefined>;
  rememberReference(reference: string, descriptor: Descriptor): Promise<void>;
  /** Notes what an image needs, for those who clean up. */
  recordUse(use: ImageUse): Promise<void>;
  /** While `work` runs nothing is removed from the store. */
  whileOpening<T>(work: () => Promise<T>): Promise<T>;
  /** True if such work runs. */
  readonly isOpening: boolean;
}

/** What one image needs of the store and of the cache to be mounted again. */
export interface ImageUse {
  /** Canonical text of the reference. */
  reference: string;
  /** Digest that the reference meant. */
  top: string;
  /** Digest of the Nydus manifest. */
  manifest: string;
  /** Digests of manifests, configuration and bootstrap layer. */
  contents: string[];
  /** Names of chunk maps. */
  maps: string[];
  /** Ids of its blobs. */
  blobs: string[];
}

/** Opens the store in `dir`, which is created when something is first kept. */
export function openImageStore(dir: string): ImageStore {
  const blobPath = ({ digest }: Pick<Descriptor, 'digest'>) =>
    join(dir, 'blobs', algorithmOf(digest), hexOf(digest));
  const mapPath = (name: string) => join(dir, 'maps', name);
  const refPath = (reference: string) =>
    join(dir, 'refs', `${createHash('sha256').update(reference).digest('hex')}.json`);

  let opening = 0;

  return {
    get isOpening() {
      return opening > 0;
    },

    async whileOpening(work) {
      opening++;
      try {
        return await work();
      } finally {
        opening--;
      }
    },

    async recordUse(use) {
      const path = usePath(dir, use);
      const text = Buffer.from(JSON.stringify(use));
      // Most mounts say again what is known.
      if (!(await readIfThere(path))?.equals(text)) await writeRecord(path, text);
    },

    async readBlob(descriptor) {
      const bytes = await readIfThere(blobPath(descriptor));
      if (bytes?.length !== descriptor.size) return undefined;
      const hex = createHash(algorithmOf(descriptor.digest)).update(bytes).digest('hex');
      return hex === hexOf(descriptor.digest) ? bytes : undefined;
    },

    async readNamed(digest) {
      const found = await stat(blobPath({ digest })).catch(ignoreMissing);
      if (found === undefined || found.size > MAX_MANIFEST_SIZE) return undefined;
      return this.readBlob({ digest, size: found.size, mediaType: '' });
    },

    async openBlob(descriptor) {
      const path = blobPath(descriptor);
      const found = await stat(path).catch(ignoreMissing);
      if (found?.size !== descriptor.size) return undefined;
      return verifiedStream(createReadStream(path), descriptor, path);
    },

    async writeBlob(descriptor, content) {
      const path = blobPath(descriptor);
      await makeDirectories(dirname(path), 0o700);
      // Its digest tells what a crash of the machine has left of it, so nobody waits for the disk.
      await fillWholeFile(path, (temporary) =>
        pipeline(content, createWriteStream(temporary, { mode: 0o600 })),
      );
    },

    async holds(descriptors, maps) {
      const blobs = descriptors.map(async (descriptor) => {
        const found = await stat(blobPath(descriptor)).catch(ignoreMissing);
        return found?.size === descriptor.size;
      });
      const others = maps.map(async (name) => (await stat(mapPath(name)).catch(ignoreMissing)) !== undefined);
      return (await Promise.all([...blobs, ...others])).every((isHere) => isHere);
    },

    removeBlob: (descriptor) => rm(blobPath(descriptor), { force: true }),
    readMap: (name) => readIfThere(mapPath(name)),
    writeMap: (name, bytes) => writeBytes(mapPath(name), bytes),
    removeMap: (name) => rm(mapPath(name), { force: true }),

    async recallReference(reference) {
      const bytes = await readIfThere(refPath(reference));
      const entry = v.safeParse(referenceSchema, parseJson(bytes));
      return entry.success && entry.output.reference === reference ? entry.output.descriptor : undefined;
    },

    rememberReference: (reference, descriptor) =>
      writeRecord(refPath(reference), Buffer.from(JSON.stringify({ reference, descriptor }))),
  };
}

/** File that records what an image needs. One reference may mean several: of other platforms, or before it was moved. */
function usePath(dir: string, { reference, manifest }: Pick<ImageUse, 'reference' | 'manifest'>): string {
  const name = createHash('sha256').update(`${reference}\0${manifest}`).digest('hex');
  return join(dir, 'uses', `${name}.json`);
}

const referenceSchema = v.object({ reference: v.string(), descriptor: descriptorSchema });

function parseJson(bytes: Buffer | undefined): unknown {
  try {
    return JSON.parse(bytes?.toString() ?? '');
  } catch {
    return undefined;
  }
}

function readIfThere(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch(ignoreMissing);
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** A record is known to be damaged when it is no JSON, so nobody waits for the disk. */
function writeRecord(path: string, json: Buffer): Promise<void> {
  return writeBytes(path, json, { synced: false });
}

async function writeBytes(path: string, bytes: Buffer, { synced = true } = {}): Promise<void> {
  await makeDirectories(dirname(path), 0o700);
  await writeWholeFile(path, bytes, { mode: 0o600, synced });
}
