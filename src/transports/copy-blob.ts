import type { Readable } from 'node:stream';
import { createAsideHash } from '../codec/aside-hash.js';
import { algorithmOf, checkHex, type Descriptor } from '../image/descriptor.js';
import { takeAll } from '../image/relay.js';
import type { ImageSource } from '../image/source.js';
import type { BlobWriter, ImageTarget } from '../image/target.js';
import { giveBack, pieceOf, ROOM_SIZE, takeRoom } from '../os/piece-memory.js';
import { errorOfRead } from '../registry/server-faults.js';

/** Bytes from which on a blob is hashed by other threads. */
const ASIDE_FROM = 2 << 20;
/** Bytes from which on a piece is hashed and written as it is; smaller ones are gathered. */
const LARGE_PIECE = ROOM_SIZE / 4;
/** Pieces that are written together: to hand one to another thread takes as long as to write it. */
const GROUP = 4;
/** Groups of one blob that are hashed and written, or wait for that. */
const MAX_UNDER_WAY = 2;

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
  // The target gets ready while the source is asked. Whoever writes here verifies the bytes: the target need not hash them again.
  const [opened, created] = await Promise.allSettled([
    source.openBlob(blob, signal, { isDigestCheckedLater: isLarge }),
    target.createBlob(signal, { digestGiven: true }),
  ]);
  try {
    if (opened.status === 'rejected') throw opened.reason;
    if (created.status === 'rejected') throw created.reason;
    const [stream, writer] = [opened.value, created.value];
    if (isLarge) await writeHashed(stream, { writer, blob, name: source.name, onBytes });
    else await writeAll(stream, writer, options);
    await writer.commit(blob.digest);
    return true;
  } catch (error) {
    throw opened.status === 'fulfilled' ? errorOfRead(error, source, opened.value) : error;
  } finally {
    if (opened.status === 'fulfilled') opened.value.destroy();
    if (created.status === 'fulfilled') await created.value.abort();
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
  /** What is written and hashed, the first group first. Who waits for one of them or for all hears of errors. */
  const underWay: Promise<void>[] = [];
  let writing: Promise<void> = Promise.resolve();
  let group: Buffer[] = [];
  let hashing: Promise<void>[] = [];
  const pass = (piece: Buffer) => {
    hashing.push(hash.update(piece));
    group.push(piece);
    onBytes(piece.length);
    if (group.length === GROUP) passGroup();
  };
  const passGroup = () => {
    const pieces = group;
    writing = writing.then(() => writePieces(writer, pieces));
    const both = Promise.all([writing, ...hashing]).then(() => pieces.forEach(giveBack));
    both.catch(() => {});
    underWay.push(both);
    group = [];
    hashing = [];
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
    passGroup();
    await Promise.all(underWay);
    checkHex(await hash.digest(), blob.digest, `${name}@${blob.digest}`);
  } finally {
    hash.close();
    // Nothing may be written after the writer was given up.
    await writing.catch(() => {});
  }
}

async function writePieces(writer: BlobWriter, pieces: Buffer[]): Promise<void> {
  if (writer.writeAll !== undefined) return writer.writeAll(pieces);
  for (const piece of pieces) await writer.write(piece);
}
