/*
 * Memory for pieces of blobs on their way. A stream that makes a new buffer for each piece leaves hundreds of megabytes to the garbage
 * collector, which costs more CPU time than reading them. Whoever is at the end of the way gives back what it got; what nobody gives
 * back is garbage like any other.
 */

/** Bytes of a room, which is the memory for one piece. */
export const ROOM_SIZE = 512 << 10;
/** Rooms that are kept for the next pieces. */
const MAX_FREE = 16;
/** How long they are kept, in milliseconds, before a program that runs for days is left with fewer. */
const KEEP_MS = 5000;

const free: Buffer[] = [];
let isTimed = false;
/** Bytes of the piece that is in a room, by its memory, until the piece is given back. */
const filled = new WeakMap<ArrayBufferLike, number>();

/** ROOM_SIZE bytes with anything in them. */
export function takeRoom(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(ROOM_SIZE);
}

/** Gives back a room that no piece was made of. */
export function giveRoomBack(room: Buffer): void {
  if (free.length < MAX_FREE) free.push(room);
  if (isTimed) return;
  isTimed = true;
  setTimeout(() => {
    isTimed = false;
    free.length = 0;
  }, KEEP_MS).unref();
}

/** The first `size` bytes of a room, for somebody else to have. */
export function pieceOf(room: Buffer, size: number): Buffer {
  filled.set(room.buffer, size);
  return room.subarray(0, size);
}

/**
 * Gives back a piece that nobody looks at any more, with its room. May be called with any bytes: those that are no piece, only a part of
 * one, or given back already are left alone, as others may have the rest.
 */
export function giveBack(piece: Buffer): void {
  const { buffer, byteOffset, length } = piece;
  if (byteOffset !== 0 || filled.get(buffer) !== length) return;
  filled.delete(buffer);
  giveRoomBack(Buffer.from(buffer));
}
