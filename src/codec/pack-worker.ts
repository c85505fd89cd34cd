import Tinypool from 'tinypool';
import { type Compressor, compress } from './compressor.js';

/** What one call of the worker gets: the bytes of one unit, in a buffer of their own that was moved to this thread. */
export interface PackTask {
  raw: Uint8Array;
  compressor: Compressor;
  level: number;
}

/** Runs in a worker thread of `pack-pool.ts`. Null: the unit does not shrink, so its raw bytes are to be stored. */
export default function pack(task: PackTask): unknown {
  const raw = Buffer.from(task.raw.buffer, task.raw.byteOffset, task.raw.byteLength);
  const packed = compress(task.compressor, raw, task.level);
  if (packed.length >= raw.length) return null;
  return Tinypool.move(exactCopy(packed));
}

/** A small result lives in Node's shared 8 KiB pool, which must not be moved to another thread. */
function exactCopy(bytes: Buffer): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
