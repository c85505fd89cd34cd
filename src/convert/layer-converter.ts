import { decompressLayer } from '../codec/decompress-stream.js';
import type { PackPool } from '../codec/pack-pool.js';
import { isRafterError, RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { BlobWriter, ImageTarget } from '../image/target.js';
import { BlobBuilder } from '../rafs/blob-builder.js';
import type { BlobRef, FileInode, TreeNode } from '../rafs/tree.js';
import type { BackgroundWork } from './background-work.js';
import { BlobPacker, type PackStats } from './blob-packer.js';
import type { ChunkIndex } from './chunk-index.js';
import type { Losses } from './losses.js';
import type { CheckedOptions } from './options.js';
import { LayerOverlay } from './overlay.js';
import type { TarEntryHead } from './tar-entry.js';
import { scanTar } from './tar-scan.js';

/**
 * A layer may decode to so many times its size, and to MIN_DECODED_LIMIT bytes in any case. A tar of zeros shrinks a
 * thousand times in gzip and some ten thousand times in zstd.
 */
const MAX_DECODED_RATIO = 50_000;
const MIN_DECODED_LIMIT = 1 << 30;

/** What the layers of one image share. */
export interface ImageUnderConstruction {
  source: ImageSource;
  target: ImageTarget;
  /** All layers so far; each layer is applied to it. */
  root: TreeNode;
  index: ChunkIndex;
  /** Stores a finished blob while the next layer is converted. */
  storing: BackgroundWork;
  pool: PackPool;
  options: CheckedOptions;
  losses: Losses;
}

export interface LayerInput {
  descriptor: Descriptor;
  /** Digest of the uncompressed tar, from the image's config. */
  diffId: Digest;
  /** What messages call the layer. */
  name: string;
  /** Told how many bytes of the uncompressed tar were read. */
  onBytes?: ((bytes: number) => void) | undefined;
  /** Told of each entry, and of the file that it became, whose chunks come later. */
  onEntry?: ((head: TarEntryHead, file: FileInode | undefined) => void) | undefined;
  /** Told when the target has the blob, before anything is committed there. */
  onStored?: ((blob: StoredBlob) => Promise<void>) | undefined;
}

/** A blob at the target; size in bytes. */
export interface StoredBlob {
  digest: Digest;
  size: number;
}

export interface LayerResult {
  /** The blob, which is at the target when `storing` is done; undefined if the layer has no content that is new. */
  blob: { ref: BlobRef; digest: Digest; size: number; meta: Buffer } | undefined;
  /** Entries of the tar and its bytes. */
  entries: number;
  tarBytes: number;
  stats: PackStats;
}

/**
 * Converts one layer in one pass: reads and verifies it, applies its entries to the image's tree and streams its content into a
 * blob at the target. Memory does not grow with the layer's bytes. Errors name the layer: those of the source,
 * DIGEST_MISMATCH if its tar is not what the config says, and those of decompression and of the tar. After an error the tree is of no
 * use and no blob is left.
 */
export async function convertLayer(image: ImageUnderConstruction, layer: LayerInput): Promise<LayerResult> {
  const { options, losses } = image;
  const { name } = layer;
  const output = new LazyBlob(image.target, options.signal);
  const builder = new BlobBuilder(options);
  const packer = new BlobPacker({
    builder,
    pool: image.pool,
    index: image.index,
    options,
    write: (bytes) => output.write(bytes),
  });
  const overlay = new LayerOverlay(image.root, { layer: name, losses });
  const compressed = await image.source.openBlob(layer.descriptor, options.signal);
  let measured: ReturnType<typeof measure> | undefined;
  try {
    const { tar } = await decompressLayer(compressed, name);
    measured = measure(tar, layer, image.pool);
    let entries = 0;
    try {
      for await (const entry of scanTar(measured.bytes, name)) {
        entries++;
        const file = overlay.apply(entry);
        layer.onEntry?.(entry, file);
        const waiting = file && packer.addFile(file, entry);
        if (waiting) await waiting;
      }
    } finally {
      tar.destroy();
    }
    await measured.verify();
    overlay.finish();
    await packer.finish();
    const blob = builder.isEmpty ? undefined : await finishBlob(image, layer, { builder, output });
    return { blob, entries, tarBytes: measured.size(), stats: packer.stats };
  } catch (error) {
    compressed.destroy();
    await output.abort();
    throw await findDamage(image, layer, error);
  } finally {
    measured?.stop();
  }
}

/**
 * Damaged bytes show in the decompressor or the tar before the whole layer was hashed. Reading it once more tells whether it is
 * the layer's author or the way here that is to blame; the result is the error to throw.
 */
async function findDamage(
  { source, options }: ImageUnderConstruction,
  { descriptor }: LayerInput,
  error: unknown,
): Promise<unknown> {
  if (!isRafterError(error, 'MALFORMED', 'TRUNCATED')) return error;
  try {
    const bytes = await source.openBlob(descriptor, options.signal);
    for await (const _ of bytes);
    return error;
  } catch (damage) {
    return isRafterError(damage, 'DIGEST_MISMATCH', 'TRUNCATED') ? damage : error;
  }
}

/** Writes the end of the blob and leaves it to `storing`. */
async function finishBlob(
  { storing }: ImageUnderConstruction,
  { onStored }: LayerInput,
  { builder, output }: { builder: BlobBuilder; output: LazyBlob },
): Promise<LayerResult['blob']> {
  const { bytes, meta } = builder.finish();
  await output.write(bytes);
  const digest: Digest = `sha256:${builder.ref.id}`;
  const { size } = output;
  await storing.begin(async () => {
    await output.commit(digest);
    await onStored?.({ digest, size });
  });
  return { ref: builder.ref, digest, size, meta };
}

/** Passes a layer's tar on while it is counted, and hashed in another thread. */
function measure(
  tar: AsyncIterable<Buffer>,
  { descriptor, diffId, name, onBytes }: LayerInput,
  pool: PackPool,
) {
  const hash = pool.hash(diffId.startsWith('sha512:') ? 'sha512' : 'sha256');
  const limit = Math.max(MIN_DECODED_LIMIT, descriptor.size * MAX_DECODED_RATIO);
  let size = 0;
  async function* pass(): AsyncGenerator<Buffer> {
    for await (const piece of tar) {
      size += piece.length;
      if (size > limit) {
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${name}: ${descriptor.size} bytes decode to more than ${limit}`,
        );
      }
      await hash.update(piece);
      onBytes?.(size);
      yield piece;
    }
  }
  return {
    bytes: pass(),
    size: () => size,
    /** DIGEST_MISMATCH unless the whole tar has the digest that the config gives. */
    verify: async () => {
      const actual = `${diffId.slice(0, diffId.indexOf(':'))}:${await hash.digest()}`;
      if (actual === diffId) return;
      throw new RafterError(
        'DIGEST_MISMATCH',
        `${name}: its tar has digest ${actual}, but the image's config says ${diffId}`,
      );
    },
    /** Ends the hash, whose digest may not have been asked for. */
    stop: () => hash.drop(),
  };
}

/** A blob at the target that is begun with its first byte, so that layers without content begin none. */
class LazyBlob {
  /** Bytes written so far. */
  size = 0;
  readonly #target: ImageTarget;
  readonly #signal: AbortSignal | undefined;
  #writer: BlobWriter | undefined;

  constructor(target: ImageTarget, signal: AbortSignal | undefined) {
    this.#target = target;
    this.#signal = signal;
  }

  async write(bytes: Buffer): Promise<void> {
    this.#writer ??= await this.#target.createBlob(this.#signal, { digestGiven: true });
    await this.#writer.write(bytes);
    this.size += bytes.length;
  }

  async commit(digest: Digest): Promise<void> {
    try {
      await this.#writer!.commit(digest);
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  async abort(): Promise<void> {
    await this.#writer?.abort();
  }
}
