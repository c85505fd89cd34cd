import type { Readable } from 'node:stream';
import type { HashThread } from '../codec/hash-thread.js';
import { algorithmOf, checkHex, type Descriptor } from '../image/descriptor.js';
import { takeAll } from '../image/relay.js';
import type { ImageSource } from '../image/source.js';
import type { BlobWriter, ImageTarget } from '../image/target.js';

/** Bytes from which on a blob is hashed in another thread. */
const THREAD_FROM = 2 << 20;

export interface CopyBlobOptions {
  signal: AbortSignal;
  /** Hears of bytes on their way, each once. */
  onBytes(count: number): void;
  /** The thread that hashes large blobs. */
  hashThread(): HashThread;
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
  const { signal, onBytes, hashThread } = options;
  if (target.putBlob !== undefined) return target.putBlob(blob, source, { signal, onBytes });
  // It starts while the source is asked.
  const thread = blob.size >= THREAD_FROM ? hashThread() : undefined;
  const stream = await source.openBlob(blob, signal, { isDigestCheckedLater: thread !== undefined });
  try {
    // Whoever writes here verifies the bytes, so the target need not hash them again.
    const writer = await target.createBlob(signal, { digestGiven: true });
    try {
      if (thread) await writeHashed(stream, { writer, blob, thread, name: source.name, onBytes });
      else await writeAll(stream, writer, options);
      await writer.commit(blob.digest);
      return true;
    } finally {
      await writer.abort();
    }
  } finally {
    stream.destroy();
  }
}

async function writeAll(
  stream: AsyncIterable<Buffer>,
  writer: BlobWriter,
  { onBytes }: CopyBlobOptions,
): Promise<void> {
  for await (const piece of stream) {
    await writer.write(piece);
    onBytes(piece.length);
  }
}

interface Hashed {
  writer: BlobWriter;
  blob: Descriptor;
  thread: HashThread;
  name: string;
  onBytes(count: number): void;
}

/** Writes in large pieces, while the thread hashes them and the next ones come. DIGEST_MISMATCH if it is another blob. */
async function writeHashed(stream: Readable, { writer, blob, thread, name, onBytes }: Hashed): Promise<void> {
  const hash = thread.begin(algorithmOf(blob.digest));
  let writing: Promise<void> = Promise.resolve();
  let room = await hash.room();
  let used = 0;
  const flush = async () => {
    await writing;
    const size = used;
    writing = writer.write(room.subarray(0, size)).then(() => onBytes(size));
    // `flush` or the end hear of it.
    writing.catch(() => {});
    hash.add(size, writing);
    used = 0;
    room = await hash.room();
  };
  const gather = (piece: Buffer) => {
    const copied = piece.copy(room, used);
    used += copied;
    return copied;
  };
  const flushAnd = async (rest: Buffer) => {
    for (let left = rest; used === room.length; left = left.subarray(gather(left))) await flush();
  };
  try {
    await takeAll(stream, (piece) => {
      const copied = gather(piece);
      return used < room.length ? undefined : flushAnd(piece.subarray(copied));
    });
    if (used > 0) await flush();
    await writing;
    checkHex(await hash.digest(), blob.digest, `${name}@${blob.digest}`);
  } finally {
    hash.close();
    // Nothing may be written after the writer was given up.
    await writing.catch(() => {});
  }
}
