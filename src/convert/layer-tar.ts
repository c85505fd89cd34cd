import type { PackPool } from '../codec/pack-pool.js';
import { RafterError } from '../errors.js';
import { algorithmOf, type Descriptor, type Digest } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';

/**
 * A layer may decode to so many times its size, and to MIN_DECODED_LIMIT bytes in any case. A tar of zeros shrinks a
 * thousand times in gzip and some ten thousand times in zstd.
 */
const MAX_DECODED_RATIO = 50_000;
const MIN_DECODED_LIMIT = 1 << 30;

/** A layer of the source. */
export interface SourceLayer {
  descriptor: Descriptor;
  /** Digest of the uncompressed tar, from the image's config. */
  diffId: Digest;
  /** What messages call the layer. */
  name: string;
}

/** The tar of a layer, which is read, verified, decompressed and hashed ahead of whoever takes it. */
export interface LayerTar {
  /** LIMIT_EXCEEDED for a tar that is too large; otherwise as `UnpackedLayer`. */
  pieces: AsyncGenerator<Buffer>;
  /** Bytes of the pieces so far. */
  size(): number;
  /** Bytes of the layer as the source has it that were read so far: a few megabytes ahead of the pieces at most. */
  taken(): number;
  /** Once `pieces` has ended: DIGEST_MISMATCH unless the tar has the digest that the config gives. */
  verify(): void;
  /** Resolves when the source gives no more bytes. */
  received: Promise<void>;
  /** As `UnpackedLayer`. */
  verdict(): Promise<unknown>;
  close(): void;
}

/** Begins to read a layer. */
export async function openLayerTar(
  { descriptor, diffId, name }: SourceLayer,
  { source, pool, signal }: { source: ImageSource; pool: PackPool; signal: AbortSignal | undefined },
): Promise<LayerTar> {
  const algorithm = algorithmOf(diffId);
  const compressed = await source.openBlob(descriptor, signal);
  let taken = 0;
  const counting = {
    async *[Symbol.asyncIterator]() {
      for await (const piece of compressed as AsyncIterable<Buffer>) {
        taken += piece.length;
        yield piece;
      }
    },
    destroy: () => compressed.destroy(),
  };
  const unpacked = beginUnpacking(pool, counting, { name, algorithm });
  const limit = Math.max(MIN_DECODED_LIMIT, descriptor.size * MAX_DECODED_RATIO);
  let size = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of unpacked.pieces) {
      size += piece.length;
      if (size > limit) {
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${name}: ${descriptor.size} bytes decode to more than ${limit}`,
        );
      }
      yield piece;
    }
  }
  return {
    pieces: counted(),
    size: () => size,
    taken: () => taken,
    verify() {
      const actual = `${algorithm}:${unpacked.digest()}`;
      if (actual === diffId) return;
      throw new RafterError(
        'DIGEST_MISMATCH',
        `${name}: its tar has digest ${actual}, but the image's config says ${diffId}`,
      );
    },
    received: unpacked.received,
    verdict: unpacked.verdict,
    close: unpacked.close,
  };
}

/** Nobody else would end the stream of a layer that comes too late, when the conversion has failed already. */
function beginUnpacking(
  pool: PackPool,
  compressed: AsyncIterable<Buffer> & { destroy(): unknown },
  layer: { name: string; algorithm: ReturnType<typeof algorithmOf> },
) {
  try {
    return pool.unpack(compressed, layer);
  } catch (error) {
    compressed.destroy();
    throw error;
  }
}
