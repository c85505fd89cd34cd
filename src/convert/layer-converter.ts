import type { PackPool } from '../codec/pack-pool.js';
import { isRafterError } from '../errors.js';
import { mayBeDamage } from '../image/asking-others.js';
import type { Digest } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { BlobWriter, ImageTarget } from '../image/target.js';
import { BlobBuilder } from '../rafs/blob-builder.js';
import type { BlobRef, FileInode, TreeNode } from '../rafs/tree.js';
import type { BackgroundWork } from './background-work.js';
import { BlobPacker, type PackStats } from './blob-packer.js';
import type { PackBuffers } from './chunk-buffers.js';
import type { ChunkIndex } from './chunk-index.js';
import type { LayerTar, SourceLayer } from './layer-tar.js';
import type { Losses } from './losses.js';
import type { CheckedOptions } from './options.js';
import { LayerOverlay } from './overlay.js';
import type { ContentWatch } from './startup/content-watch.js';
import type { TarEntryHead } from './tar-entry.js';
import { scanTar } from './tar-scan.js';

/** What the layers of one image share. */
export interface ImageUnderConstruction {
  source: ImageSource;
  target: ImageTarget;
  /** All layers so far; each layer is applied to it. */
  root: TreeNode;
  index: ChunkIndex;
  buffers: PackBuffers;
  /** Stores a finished blob while the next layer is converted. */
  storing: BackgroundWork;
  pool: PackPool;
  options: CheckedOptions;
  losses: Losses;
  /** Looks at the files on their way; undefined: nobody does. */
  contents?: ContentWatch | undefined;
}

export interface LayerInput extends SourceLayer {
  /** The layer's tar, perhaps begun before. */
  open(): Promise<LayerTar>;
  /** Told how many bytes of the layer were read, as the source has them. */
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
    buffers: image.buffers,
    options,
    write: (bytes) => output.write(bytes),
  });
  const overlay = new LayerOverlay(image.root, { layer: name, losses });
  const tar = await layer.open();
  try {
    let entries = 0;
    for await (const entry of scanTar(reported(tar, layer), name)) {
      entries++;
      const file = overlay.apply(entry);
      layer.onEntry?.(entry, file);
      const waiting = file && packer.addFile(file, image.contents?.watch(file, entry) ?? entry);
      if (waiting) await waiting;
    }
    tar.verify();
    overlay.finish();
    await packer.finish();
    const blob = builder.isEmpty ? undefined : await finishBlob(image, layer, { builder, output });
    return { blob, entries, tarBytes: tar.size(), stats: packer.stats };
  } catch (error) {
    await output.abort();
    throw await findDamage(tar, error);
  } finally {
    tar.close();
  }
}

async function* reported(tar: LayerTar, { onBytes }: LayerInput): AsyncGenerator<Buffer> {
  for await (const piece of tar.pieces) {
    onBytes?.(tar.taken());
    yield piece;
  }
}

/**
 * Damaged bytes show in the decompressor or the tar before the whole layer was hashed. Its rest tells whether it is the layer's author
 * or the way here that is to blame; the result is the error to throw.
 */
async function findDamage(tar: LayerTar, error: unknown): Promise<unknown> {
  if (!mayBeDamage(error)) return error;
  const verdict = await tar.verdict();
  return isRafterError(verdict, 'DIGEST_MISMATCH', 'TRUNCATED') ? verdict : error;
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
