import { chunkDigest, crc32c } from '../codec/digest.js';
import type { PackedUnit, PackPool } from '../codec/pack-pool.js';
import type { BlobBuilder, ChunkInput } from '../rafs/blob-builder.js';
import type { Chunk, FileInode } from '../rafs/tree.js';
import { ByteArena } from './byte-arena.js';
import type { PackBuffers } from './chunk-buffers.js';
import { type ChunkIndex, type FoundIn, PendingChunk } from './chunk-index.js';
import { cutChunks } from './chunker.js';
import type { CheckedOptions } from './options.js';
import { OrderedWindow } from './ordered-window.js';
import { HOLE } from './tar-sparse.js';

/** Units per thread that are compressed or wait for their turn: enough to keep the threads busy while a result is written. */
const UNITS_PER_THREAD = 3;
/** Most bytes of such units, whatever the number of threads. */
const MAX_WINDOW_SIZE = 64 << 20;

/** What packing did. Sizes are raw bytes but for `storedBytes`. */
export interface PackStats {
  /** Chunks stored and their bytes in the blob, without the tables behind them. */
  chunks: number;
  storedBytes: number;
  /** Chunks that the image had already. */
  dedupedChunks: number;
  dedupedBytes: number;
  /** Chunks that a dictionary has; what repeats them counts as deduped. */
  dictionaryChunks: number;
  dictionaryBytes: number;
  /** Chunks that share a unit, and those units. */
  batchedChunks: number;
  batches: number;
}

interface Member {
  input: ChunkInput;
  pending: PendingChunk;
}

/**
 * Packs files into one blob: cuts them, leaves out chunks that the image has, compresses the rest in the pool's threads and
 * hands the stored bytes to `write`, in order.
 *
 * Files of a single chunk shorter than `chunkSize` are gathered in batches, and nothing else is: nydusd ends itself when one
 * request covers two chunks of a file in the same batch. As only the last chunk of a file can be that short, no file can
 * come to have two, by deduplication neither. A batch is closed when the next file would not fit. Chunks that stand
 * alone may be stored while it is open: both kinds get their stored and their decoded place when they are written, so the
 * two orders stay the same.
 */
export class BlobPacker {
  readonly stats: PackStats = {
    chunks: 0,
    storedBytes: 0,
    dedupedChunks: 0,
    dedupedBytes: 0,
    dictionaryChunks: 0,
    dictionaryBytes: 0,
    batchedChunks: 0,
    batches: 0,
  };
  readonly #window: OrderedWindow;
  readonly #digests = new ByteArena();
  readonly #context: PackContext;
  #batch: { bytes: Buffer; used: number; members: Member[] } | undefined;
  #hole: ChunkInput | undefined;

  constructor(context: PackContext) {
    this.#context = context;
    const { chunkSize, batchSize, jobs } = context.options;
    const wanted = jobs * UNITS_PER_THREAD * Math.max(chunkSize, batchSize);
    this.#window = new OrderedWindow(Math.min(wanted, MAX_WINDOW_SIZE));
  }

  /**
   * Stores what is new of a file of `inode.size` bytes. The inode has all its chunks after `finish`. A promise is to be awaited
   * before anything else; undefined means that the file is taken: most files are small, and a promise for each would cost
   * more than what is done with them.
   */
  addFile(inode: FileInode, { content, body }: FileContent): Promise<void> | undefined {
    const { chunkSize } = this.#context.options;
    if (inode.size === 0) return undefined;
    if (inode.size > chunkSize) return this.#addPieces(inode, body);
    // An array that grows to its one chunk has room for sixteen more.
    inode.chunks = new Array<Chunk>(1);
    return content ? this.#addChunk(inode, 0, content) : this.#addPieces(inode, body);
  }

  async #addPieces(inode: FileInode, body: AsyncIterable<Buffer>): Promise<void> {
    const { options, buffers } = this.#context;
    const cut = { chunkSize: options.chunkSize, buffers: buffers.chunks };
    let at = 0;
    for await (const raw of cutChunks(body, inode.size, cut)) await this.#addChunk(inode, at++, raw);
  }

  #addChunk(inode: FileInode, at: number, raw: Buffer): Promise<void> | undefined {
    const { index, options } = this.#context;
    const input = this.#describe(raw);
    const pending = index.claim(input, inode.chunks, at);
    if (!(pending instanceof PendingChunk)) {
      this.#count(pending, raw.length);
      this.#context.buffers.chunks.give(raw);
      return undefined;
    }
    input.digest = pending.digest = this.#digests.keep(input.digest);
    const isMember = inode.size < options.chunkSize && inode.size <= options.batchSize;
    return isMember ? this.#addMember({ input, pending }, raw) : this.#addAlone({ input, pending }, raw);
  }

  /** Writes out what is open; every file then has its chunks. */
  async finish(): Promise<void> {
    await this.#closeBatch();
    await this.#window.finish();
  }

  #count(foundIn: FoundIn, size: number): void {
    const counted = foundIn === 'image' ? 'deduped' : 'dictionary';
    this.stats[`${counted}Chunks`]++;
    this.stats[`${counted}Bytes`] += size;
  }

  #describe(raw: Buffer): ChunkInput {
    if (raw === HOLE && this.#hole) return this.#hole;
    const digest = chunkDigest(this.#context.options.digester, raw);
    const input = { digest, crc: crc32c(raw), size: raw.length };
    if (raw === HOLE) this.#hole = input;
    return input;
  }

  async #addAlone({ pending, input }: Member, bytes: Buffer): Promise<void> {
    let raw = bytes;
    if (!this.#context.buffers.chunks.owns(bytes) && !this.#context.buffers.batches.owns(bytes)) {
      raw = this.#context.buffers.chunks.take().subarray(0, bytes.length);
      bytes.copy(raw);
    }
    await this.#pack(raw, async (unit) => {
      const { chunk, bytes } = this.#context.builder.addChunk({ ...input, ...unit });
      this.#context.index.place(pending, chunk);
      await this.#write([chunk], bytes);
    });
  }

  #addMember(member: Member, raw: Buffer): Promise<void> | undefined {
    const { batchSize } = this.#context.options;
    if (this.#batch && this.#batch.used + raw.length > batchSize) {
      return this.#closeBatch().then(() => this.#addMember(member, raw));
    }
    this.#batch ??= { bytes: this.#context.buffers.batches.take(), used: 0, members: [] };
    raw.copy(this.#batch.bytes, this.#batch.used);
    this.#context.buffers.chunks.give(raw);
    this.#batch.used += raw.length;
    this.#batch.members.push(member);
    return undefined;
  }

  async #closeBatch(): Promise<void> {
    if (!this.#batch) return;
    const { bytes, used, members } = this.#batch;
    this.#batch = undefined;
    const raw = bytes.subarray(0, used);
    if (members.length === 1) return this.#addAlone(members[0]!, raw);
    await this.#pack(raw, async (unit) => {
      const placed = this.#context.builder.addBatch({ members: members.map(({ input }) => input), ...unit });
      members.forEach((member, i) => {
        this.#context.index.place(member.pending, placed.chunks[i]!);
      });
      this.stats.batches++;
      this.stats.batchedChunks += members.length;
      await this.#write(placed.chunks, placed.bytes);
    });
  }

  /** `raw` is the beginning of a lent buffer, which is given back afterwards. */
  #pack(raw: Buffer, use: (unit: PackedUnit) => Promise<void>): Promise<void> {
    const { pool, options } = this.#context;
    const { compressor, level, signal } = options;
    const work = () => pool.pack(raw, { compressor, level, ...(signal && { signal }) });
    return this.#window.add(raw.buffer.byteLength, work, async (unit) => {
      await use(unit);
      this.#context.buffers.chunks.give(raw);
      this.#context.buffers.batches.give(raw);
    });
  }

  async #write(chunks: Chunk[], bytes: Buffer): Promise<void> {
    this.stats.chunks += chunks.length;
    this.stats.storedBytes += bytes.length;
    await this.#context.write(bytes);
  }
}

/** The bytes of a file. */
interface FileContent {
  /** All of them, if they are at hand. */
  content?: Buffer | undefined;
  body: AsyncIterable<Buffer>;
}

/** What a packer works with. */
export interface PackContext {
  builder: BlobBuilder;
  pool: PackPool;
  /** The chunks of all layers of the image. */
  index: ChunkIndex;
  /** Memory for what is on its way to the blob; one packer after the other may use it. */
  buffers: PackBuffers;
  options: CheckedOptions;
  /** Appends to the blob. */
  write(bytes: Buffer): Promise<void>;
}
