import { DefaultDeserializer, DefaultSerializer, type Deserializer, type Serializer } from 'node:v8';
import { DIGEST_SIZE } from '../codec/digest.js';
import type { Digest } from '../image/descriptor.js';
import type { BlobEntryFields } from '../rafs/blob-entry.js';
import type { BlobRef, Chunk, FileInode } from '../rafs/tree.js';
import type { PackStats } from './blob-packer.js';
import type { FileFacts } from './startup/file-facts.js';
import type { TarEntryHead, TarEntryType } from './tar-entry.js';

const TYPES: TarEntryType[] = ['file', 'dir', 'symlink', 'hardlink', 'char', 'block', 'fifo'];
/** Stands behind the last entry, where the next one's type would be. */
const END = 0;

/** What a converted layer was, besides its entries. */
export interface LayerFacts {
  blob: { digest: Digest; size: number; fields: BlobEntryFields; meta: Buffer } | undefined;
  entries: number;
  tarBytes: number;
  stats: PackStats;
  /** What is known of the contents of files, by their number among the files of the layer. */
  contents: [file: number, facts: FileFacts][];
}

/**
 * Takes down a layer while it is converted. Entries are encoded at once, so that memory does not hold them as objects. A record is
 * the length of its first part in four bytes; the first part: facts, blobs, chunks, the files' chunks; then the entries.
 */
export class LayerRecorder {
  readonly #entries = new DefaultSerializer();
  readonly #files: FileInode[] = [];

  /** An entry of the tar, and the file that it became, whose chunks may be filled in later. */
  add(head: TarEntryHead, file: FileInode | undefined): void {
    const out = this.#entries;
    out.writeUint32(TYPES.indexOf(head.type) + 1);
    for (const value of [head.mode, head.uid, head.gid, head.mtimeNsec]) out.writeUint32(value);
    out.writeUint32(head.rdev.major);
    out.writeUint32(head.rdev.minor);
    out.writeDouble(head.mtimeSec);
    out.writeDouble(head.size);
    writeBytes(out, head.path);
    writeBytes(out, head.linkTarget);
    out.writeUint32(head.xattrs.length);
    for (const { name, value } of head.xattrs) {
      writeBytes(out, name);
      writeBytes(out, value);
    }
    if (file) this.#files.push(file);
  }

  /** The record, when the layer's blob is finished and every file has its chunks. */
  finish(layer: Omit<LayerFacts, 'contents'>, known?: ReadonlyMap<FileInode, FileFacts>): Buffer {
    const out = new DefaultSerializer();
    out.writeHeader();
    const contents: LayerFacts['contents'] = this.#files.flatMap((file, i) => {
      const facts = known?.get(file);
      return facts ? [[i, facts]] : [];
    });
    const facts: LayerFacts = { ...layer, contents };
    out.writeValue(facts);
    const numbers = new Map<Chunk, number>();
    const blobs = new Map<BlobRef, number>();
    for (const { chunks } of this.#files) {
      for (const chunk of chunks) {
        if (!numbers.has(chunk)) numbers.set(chunk, numbers.size);
        if (!blobs.has(chunk.blob)) blobs.set(chunk.blob, blobs.size);
      }
    }
    out.writeUint32(blobs.size);
    for (const { id } of blobs.keys()) writeBytes(out, Buffer.from(id!));
    out.writeUint32(numbers.size);
    for (const chunk of numbers.keys()) writeChunk(out, chunk, blobs.get(chunk.blob)!);
    out.writeUint32(this.#files.length);
    for (const { chunks } of this.#files) {
      out.writeUint32(chunks.length);
      for (const chunk of chunks) out.writeUint32(numbers.get(chunk)!);
    }
    this.#entries.writeUint32(END);
    const first = out.releaseBuffer();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(first.length);
    return Buffer.concat([length, first, this.#entries.releaseBuffer()]);
  }
}

/** A record that was read. */
export interface LayerRecord extends LayerFacts {
  /** Hexadecimal ids of all blobs that chunks are in, of lower layers' too. */
  blobIds: string[];
  /** Every chunk once, and the chunks of each file in the order of the entries. Call it once, with the blobs of `blobIds`. */
  readChunks(blobs: BlobRef[]): { all: Chunk[]; files: Chunk[][] };
  /** The entries, decoded one by one. */
  heads(): Generator<TarEntryHead>;
}

/** Reads what `LayerRecorder` wrote. Throws something or other for anything else: records are verified before. */
export function readLayerRecord(bytes: Buffer): LayerRecord {
  const end = 4 + bytes.readUInt32LE(0);
  const from = new DefaultDeserializer(bytes.subarray(4, end));
  from.readHeader();
  const facts = from.readValue() as LayerFacts;
  const blobIds = Array.from({ length: from.readUint32() }, () => readBytes(from).toString());
  return {
    ...facts,
    blobIds,
    readChunks(blobs) {
      const all = Array.from({ length: from.readUint32() }, () => readChunk(from, blobs));
      const files = Array.from({ length: from.readUint32() }, () =>
        Array.from({ length: from.readUint32() }, () => all[from.readUint32()]!),
      );
      return { all, files };
    },
    *heads() {
      const entries = new DefaultDeserializer(bytes.subarray(end));
      for (let type = entries.readUint32(); type !== END; type = entries.readUint32()) {
        yield readHead(entries, TYPES[type - 1]!);
      }
    },
  };
}

function readHead(from: Deserializer, type: TarEntryType): TarEntryHead {
  const [mode, uid, gid, mtimeNsec, major, minor] = readNumbers(from);
  const mtimeSec = from.readDouble();
  const size = from.readDouble();
  const path = readBytes(from);
  const linkTarget = readBytes(from);
  const xattrs = Array.from({ length: from.readUint32() }, () => ({
    name: readBytes(from),
    value: readBytes(from),
  }));
  return {
    path,
    type,
    mode,
    uid,
    gid,
    mtimeSec,
    mtimeNsec,
    linkTarget,
    rdev: { major, minor },
    xattrs,
    size,
  };
}

function writeChunk(out: Serializer, chunk: Chunk, blob: number): void {
  for (const value of [blob, chunk.index, chunk.crc, chunk.size, chunk.storedSize, chunk.flags]) {
    out.writeUint32(value);
  }
  out.writeDouble(chunk.decodedOffset);
  out.writeDouble(chunk.storedOffset);
  out.writeRawBytes(chunk.digest);
}

function readChunk(from: Deserializer, blobs: BlobRef[]): Chunk {
  const [blob, index, crc, size, storedSize, flags] = readNumbers(from);
  const decodedOffset = from.readDouble();
  const storedOffset = from.readDouble();
  const digest = Buffer.from(from.readRawBytes(DIGEST_SIZE));
  return { blob: blobs[blob]!, index, digest, crc, size, decodedOffset, storedOffset, storedSize, flags };
}

/** Entries and chunks begin with six numbers. */
function readNumbers(from: Deserializer): [number, number, number, number, number, number] {
  const next = () => from.readUint32();
  return [next(), next(), next(), next(), next(), next()];
}

function writeBytes(out: Serializer, bytes: Buffer): void {
  out.writeUint32(bytes.length);
  out.writeRawBytes(bytes);
}

/** A copy, as the record is a large buffer that would be kept alive. */
function readBytes(from: Deserializer): Buffer {
  return Buffer.from(from.readRawBytes(from.readUint32()));
}
