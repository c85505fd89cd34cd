import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';

/** Bytes written at once: a socket gives 64 KiB, and each write costs as much as hashing that. */
const WRITE_SIZE = 512 << 10;

export interface CopyBlobOptions {
  signal: AbortSignal;
  /** Hears of bytes on their way, each once. */
  onBytes(count: number): void;
}

/**
 * Copies one blob that the target does not have, verified on its way; DIGEST_MISMATCH or TRUNCATED leaves nothing at the target.
 * True if its bytes were sent, false if the target got it otherwise.
 */
export async function copyBlob(
  source: ImageSource,
  target: ImageTarget,
  blob: Descriptor,
  options: CopyBlobOptions,
): Promise<boolean> {
  const { signal, onBytes } = options;
  if (target.putBlob !== undefined) return target.putBlob(blob, source, { signal, onBytes });
  const stream = await source.openBlob(blob, signal);
  try {
    // The stream is verified and ends with an error otherwise, so the target need not hash it again.
    const writer = await target.createBlob(signal, { digestGiven: true });
    try {
      for await (const piece of gathered(stream as AsyncIterable<Buffer>)) {
        await writer.write(piece);
        onBytes(piece.length);
      }
      await writer.commit(blob.digest);
      return true;
    } finally {
      await writer.abort();
    }
  } finally {
    stream.destroy();
  }
}

/** The same bytes in larger pieces. */
async function* gathered(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of source) {
    pieces.push(piece);
    size += piece.length;
    if (size < WRITE_SIZE) continue;
    yield Buffer.concat(pieces, size);
    pieces = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(pieces, size);
}
