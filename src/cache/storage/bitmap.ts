/** A bit per chunk: chunk `i` is bit `i % 8`, counted from the least, of byte `i / 8`. */
export class Bitmap {
  readonly bytes: Buffer;

  /** `bytes` must be `bitmapSize(count)` long; without it all bits are clear. */
  constructor(count: number, bytes: Buffer = Buffer.alloc(bitmapSize(count))) {
    this.bytes = bytes;
  }

  has(index: number): boolean {
    return ((this.bytes[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  set(index: number): void {
    this.bytes[index >> 3]! |= 1 << (index & 7);
  }

  /** How many bits are set. */
  count(): number {
    let count = 0;
    for (const byte of this.bytes) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
    return count;
  }

  clear(index: number): void {
    this.bytes[index >> 3]! &= ~(1 << (index & 7));
  }
}

/** Bytes of a bitmap with `count` bits. */
export function bitmapSize(count: number): number {
  return Math.ceil(count / 8);
}
