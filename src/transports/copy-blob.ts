import type { Readable } from 'node:stream';
import { createAsideHash } from '../codec/aside-hash.js';
import { algorithmOf, checkHex, type Descriptor } from '../image/descriptor.js';
import { takeAll } from '../image/relay.js';
import type { ImageSource } from '../image/source.js';
import type { BlobWriter, ImageTarget } from '../image/target.js';
import { giveBack, pieceOf, ROOM_SIZE, takeRoom } from '../os/piece-memory.js';

/** Bytes from which on a blob is hashed by other threads. */
const ASIDE_FROM = 2 << 20;
/** Bytes from which on a piece is hashed and written as it is; smaller ones are gathered. */
const LARGE_PIECE = ROOM_SIZE / 4;
/** Pieces of one blob that are hashed and written, or wait for that. */
const MAX_UNDER_WAY = 4;

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
  const isLarge = blob.size >= ASIDE_FROM;
  const stream = await source.openBlob(blob, signal, { isDigestCheckedLater: isLarge });
  try {
    // Whoever writes here verifies the bytes, so the target need not hash them again.
    const writer = await target.createBlob(signal, { digestGiven: true });
    try {
      if (isLarge) await writeHashed(stream, { writer, blob, name: source.name, onBytes });
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
  name: string;
  onBytes(count: number): void;
}

/** Writes and hashes large pieces, by other threads, while the next ones come. DIGEST_MISMATCH if it is another blob. */
async function writeHashed(stream: Readable, { writer, blob, name, onBytes }: Hashed): Promise<void> {
  const hash = createAsideHash(algorithmOf(blob.digest));
  /** What is written and hashed, the first piece first. Who waits for one of them or for all hears of errors. */
  const underWay: Promise<void>[] = [];
  let writing: Promise<void> = Promise.resolve();
  const pass = (piece: Buffer) => {
    writing = writing.then(() => writer.write(piece)).then(() => onBytes(piece.length));
    const both = Promise.all([writing, hash.update(piece)]).then(() => giveBack(piece));
    both.catch(() => {});
    underWay.push(both);
  };
  const isBusy = () => (underWay.length >= MAX_UNDER_WAY ? underWay.shift() : undefined);
  /** Where small pieces become a large one. */
  let room: Buffer | undefined;
  let used = 0;
  const passGathered = () => {
    if (room === undefined) return;
    pass(pieceOf(room, used));
    room = undefined;
    used = 0;
  };
  try {
    await takeAll(stream, (piece) => {
      if (used + piece.length > ROOM_SIZE) passGathered();
      if (room === undefined && piece.length >= LARGE_PIECE) {
        pass(piece);
      } else {
        room ??= takeRoom();
        used += piece.copy(room, used);
        giveBack(piece);
      }
      return isBusy();
    });
    passGathered();
    await Promise.all(underWay);
    checkHex(await hash.digest(), blob.digest, `${name}@${blob.digest}`);
  } finally {
    hash.close();
    // Nothing may be written after the writer was given up.
    await writing.catch(() => {});
  }
}
