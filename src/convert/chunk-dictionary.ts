import type { DigestAlgorithm } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { useBlob } from '../image/asking-others.js';
import { type BootstrapLayer, unpackBootstrapLayer } from '../image/bootstrap-layer.js';
import { parseSuppliedMap, readStoredMap } from '../image/chunk-map.js';
import { type Descriptor, type Digest, hexOf } from '../image/descriptor.js';
import { findManifest } from '../image/find-manifest.js';
import { parseManifest } from '../image/manifest.js';
import { blobLayers, findBootstrapLayer } from '../image/nydus-manifest.js';
import type { ImageSource } from '../image/source.js';
import type { ChunkInput } from '../rafs/blob-builder.js';
import type { BlobEntry } from '../rafs/blob-entry.js';
import { BlobFeature } from '../rafs/blob-features.js';
import type { BlobMeta } from '../rafs/blob-meta.js';
import { BlobRef } from '../rafs/blob-ref.js';
import { readBootstrapTables } from '../rafs/bootstrap-tables.js';
import { CHUNK_TABLE_ENTRY_SIZE, ChunkFlag, decodeChunkTableEntry } from '../rafs/chunk-table.js';
import type { Chunk } from '../rafs/tree.js';

/**
 * Features that blobs of a dictionary may have. Among the others are encryption, whose key would have to come along; data that is
 * elsewhere; lists of other blobs' chunks; and blobs that readers look for under the name of the bootstrap's file.
 */
const SHAREABLE =
  BlobFeature.ALIGNED |
  BlobFeature.CHUNK_INFO_V2 |
  BlobFeature.BATCH |
  BlobFeature.INLINED_CHUNK_DIGEST |
  BlobFeature.HAS_TAR_HEADER |
  BlobFeature.HAS_TOC |
  BlobFeature.CAP_TAR_TOC;

/** A blob of a dictionary, and where it is. */
export interface DictionaryBlob {
  ref: BlobRef;
  source: ImageSource;
  /** Its layer in the dictionary's manifest. */
  descriptor: Descriptor;
  /** Content of its `.blob.meta` file; undefined if the dictionary has none beside its bootstrap. */
  meta: Buffer | undefined;
}

export interface DictionaryOptions {
  /** What the image is converted with; chunks made otherwise cannot be shared. */
  chunkSize: number;
  digester: DigestAlgorithm;
  /** `linux/arm64`: which image of a dictionary that is an index. */
  platform: string;
  signal: AbortSignal | undefined;
}

/**
 * The chunks of other Nydus images, for a new one to refer to. Of a chunk that several blobs have, the one of the first image
 * counts, then of its first blob, so that the same dictionaries always give the same.
 */
export class ChunkDictionary {
  /** Digests of the manifests that it was made of, in the order given. */
  readonly manifests: Digest[] = [];
  /** Blobs whose chunks can be shared, in the images' order. */
  readonly blobs: DictionaryBlob[] = [];
  /** What of the images cannot be shared, and why. */
  readonly warnings: string[] = [];
  readonly #chunks = new Map<string, Chunk>();

  /**
   * Reads manifest, bootstrap and chunk maps of each image, verified by the manifest's digests; no chunk. Throws USAGE for another
   * chunk size, UNSUPPORTED for what is no Nydus image and for images without anything to share, MALFORMED for a
   * bootstrap that contradicts its chunk maps, and what sources and readers throw.
   */
  static async read(sources: readonly ImageSource[], options: DictionaryOptions): Promise<ChunkDictionary> {
    const dictionary = new ChunkDictionary();
    for (const source of sources) await dictionary.#add(source, options);
    return dictionary;
  }

  /** The chunk with the digest of `input`. DIGEST_MISMATCH if the dictionary says another size or CRC for it. */
  find({ digest, size, crc }: ChunkInput): Chunk | undefined {
    const chunk = this.#chunks.get(digest.toString('latin1'));
    if (!chunk) return undefined;
    const sameCrc = (chunk.flags & ChunkFlag.HAS_CRC32) === 0 || chunk.crc === crc;
    if (chunk.size === size && sameCrc) return chunk;
    throw new RafterError(
      'DIGEST_MISMATCH',
      `chunk dictionary: chunk ${chunk.index} of blob ${chunk.blob.id} is said to have ${chunk.size} bytes with CRC ` +
        `${chunk.crc}; what has its digest has ${size} bytes with CRC ${crc}`,
    );
  }

  /** Its blobs among those with the given ids, in their order. */
  withIds(ids: readonly string[]): DictionaryBlob[] {
    return ids.flatMap((id) => this.blobs.filter(({ ref }) => ref.id === id));
  }

  async #add(source: ImageSource, options: DictionaryOptions): Promise<void> {
    const name = `chunk dictionary ${source.name}`;
    const { chunkSize, platform, signal } = options;
    const { descriptor, manifest } = await findManifest(await source.resolve(signal), {
      name,
      platform,
      read: async (each) =>
        parseManifest(
          await source.readManifest(each, signal),
          `${name}: ${each.digest}`,
          each.mediaType || undefined,
        ),
    });
    const layer = await useBlob(source, findBootstrapLayer(manifest, name), {
      signal,
      use: (content) => unpackBootstrapLayer(content, `${name}: bootstrap layer`),
    });
    const { blobs, extended } = readBootstrapTables(layer.bootstrap, `${name}: bootstrap`);
    if (extended.chunkSize !== chunkSize) {
      throw new RafterError(
        'USAGE',
        `${name}: it has chunks of ${extended.chunkSize} bytes, so an image with chunks of ${chunkSize} cannot share them`,
        { hint: `convert with a chunk size of ${extended.chunkSize}, or leave the dictionary out` },
      );
    }
    const layers = blobLayers(manifest);
    const shared: (SharedBlob | undefined)[] = [];
    for (const blob of blobs) {
      const reason = unusable(blob, layers, options.digester);
      if (reason !== undefined)
        this.warnings.push(`${name}: blob ${blob.id} ${reason}; its chunks are not shared`);
      shared.push(
        reason === undefined ? await this.#addBlob(blob, { source, layers, layer, signal }) : undefined,
      );
    }
    if (blobs.length > 0 && shared.every((blob) => blob === undefined)) {
      throw new RafterError('UNSUPPORTED', this.warnings.at(-1)!);
    }
    this.#addChunks(layer.bootstrap, { table: extended.chunkTable, shared, name });
    this.manifests.push(descriptor.digest);
  }

  async #addBlob(blob: BlobEntry, { source, layers, layer, signal }: BlobOrigin): Promise<SharedBlob> {
    const descriptor = layers.find(({ digest }) => hexOf(digest) === blob.id)!;
    const file = layer.blobMetas.get(blob.id);
    const supplied = file && parseSuppliedMap(file, blob);
    const map = supplied ?? (await readStoredMap(source, { descriptor, blob, signal })).map;
    const known = this.blobs.find(({ ref }) => ref.id === blob.id);
    if (known) return { ref: known.ref, map };
    const { index: _, ...fields } = blob;
    const ref = BlobRef.existing(fields);
    this.blobs.push({ ref, source, descriptor, meta: supplied && file });
    return { ref, map };
  }

  #addChunks(bytes: Buffer, { table, shared, name }: ListedChunks): void {
    for (let at = table.offset; at < table.offset + table.size; at += CHUNK_TABLE_ENTRY_SIZE) {
      const { blobIndex, fileOffset: _, ...chunk } = decodeChunkTableEntry(bytes, at);
      const blob = shared[blobIndex];
      if (!blob) continue;
      const place = chunk.index < blob.map.chunkCount ? blob.map.chunk(chunk.index) : undefined;
      if (place?.size !== chunk.size || place.decodedOffset !== chunk.decodedOffset) {
        throw new RafterError(
          'MALFORMED',
          `${name}: chunk table at ${at}: chunk ${chunk.index} of blob ${blob.ref.id} is not what the blob's chunk map says`,
        );
      }
      // A file with two chunks in one batch would end nydusd; only what is short is its file's only or last chunk.
      if (place.batch && place.size >= blob.ref.fields.chunkSize) continue;
      const key = chunk.digest.toString('latin1');
      if (!this.#chunks.has(key)) this.#chunks.set(key, { ...chunk, blob: blob.ref });
    }
  }
}

interface SharedBlob {
  ref: BlobRef;
  map: BlobMeta;
}

interface BlobOrigin {
  source: ImageSource;
  layers: Descriptor[];
  layer: BootstrapLayer;
  signal: AbortSignal | undefined;
}

interface ListedChunks {
  table: { offset: number; size: number };
  /** What can be shared of the blob table, by position. */
  shared: (SharedBlob | undefined)[];
  name: string;
}

/** Why no other image can refer to the blob, in words that go on after its name; undefined if one can. */
function unusable(blob: BlobEntry, layers: Descriptor[], digester: DigestAlgorithm): string | undefined {
  if (!layers.some(({ digest }) => hexOf(digest) === blob.id)) return 'is no layer of the image';
  if (blob.digester !== digester) return `has ${blob.digester} digests, not ${digester}`;
  const others = (blob.features & ~SHAREABLE) >>> 0;
  return others === 0 ? undefined : `is of a special form (features 0x${others.toString(16)})`;
}
