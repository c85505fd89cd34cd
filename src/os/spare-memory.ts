/*
 * Memory for data of any size that lives for a moment: stored bytes, decoded chunks, answers to the kernel. V8 counts what buffers have
 * outside of its heap, and collects garbage each time that some tens of megabytes have been made: in the second in which an image starts
 * that took as long as decoding it. So whoever is done with such bytes gives them back; what nobody gives back is garbage like any other.
 */

/** Fewer bytes are not worth it. */
const SMALLEST = 32 << 10;
/** What is allocated is a multiple of this, so that memory of about the same size is found again. */
const STEP = 64 << 10;
/** Bytes that are kept for the next ones, and for how long, in milliseconds. */
const MAX_SPARE = 16 << 20;
const KEEP_MS = 3000;

const spare: ArrayBuffer[] = [];
let spareBytes = 0;
let timer: NodeJS.Timeout | undefined;
/** Bytes that were asked for, by the memory that was given for them, until they are given back. */
const lent = new WeakMap<ArrayBufferLike, number>();

/** `size` bytes with anything in them. */
export function takeMemory(size: number): Buffer {
  if (size < SMALLEST) return Buffer.allocUnsafe(size);
  const memory = smallestFor(size) ?? Buffer.allocUnsafeSlow(Math.ceil(size / STEP) * STEP).buffer;
  lent.set(memory, size);
  return Buffer.from(memory, 0, size);
}

/**
 * Gives back what `takeMemory` returned, which nobody looks at any more. May be called with any bytes: those that are not from there, only
 * a part of what is, or given back already are left alone, as others may have the rest.
 */
export function giveMemoryBack(bytes: Buffer): void {
  const { buffer, byteOffset, length } = bytes;
  if (byteOffset !== 0 || lent.get(buffer) !== length) return;
  lent.delete(buffer);
  if (spareBytes + buffer.byteLength > MAX_SPARE) return;
  spare.push(buffer as ArrayBuffer);
  spareBytes += buffer.byteLength;
  timer ??= setTimeout(forgetAll, KEEP_MS).unref();
  timer.refresh();
}

/** What one piece of work takes, to be given back together. */
export class Borrowed {
  #taken: Buffer[] = [];

  /** As `takeMemory`. */
  take(size: number): Buffer {
    return this.add(takeMemory(size));
  }

  /** Will be given back, too. */
  add(bytes: Buffer): Buffer {
    this.#taken.push(bytes);
    return bytes;
  }

  /** Nobody looks at any of it any more. */
  giveBack(): void {
    for (const bytes of this.#taken) giveMemoryBack(bytes);
    this.#taken = [];
  }
}

/** Takes the smallest that is large enough, but not far too large. */
function smallestFor(size: number): ArrayBuffer | undefined {
  let best = -1;
  for (const [i, { byteLength }] of spare.entries())
    if (
      byteLength >= size &&
      byteLength <= 2 * size + STEP &&
      byteLength < (spare[best]?.byteLength ?? Infinity)
    )
      best = i;
  if (best < 0) return undefined;
  const [found] = spare.splice(best, 1);
  spareBytes -= found!.byteLength;
  return found;
}

function forgetAll(): void {
  timer = undefined;
  spare.length = 0;
  spareBytes = 0;
}
