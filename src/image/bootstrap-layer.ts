import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { decompressLayer } from '../codec/decompress-stream.js';
import { sha256Stream } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { readTarHeader } from './archive/tar-header.js';
import { encodeTarHeader, TAR_BLOCK } from './archive/ustar.js';
import type { Digest } from './descriptor.js';
import { printable } from './printable.js';

/** Most bytes of a bootstrap: metadata of some millions of files. */
export const MAX_BOOTSTRAP_SIZE = 1 << 30;
/** Most bytes of one blob's chunk map: more than a million chunks. */
const MAX_BLOB_META_SIZE = 256 << 20;
/** Memory taken for a file before any of it was read; more is taken as bytes come, whatever the header claims. */
const FIRST_ALLOCATION = 16 << 20;
/** Most bytes of the layer's tar, and most entries in it. */
const MAX_TAR_SIZE = 2 ** 31;
const MAX_TAR_ENTRIES = 16384;

/** Names inside the layer, as the containerd snapshotter for Nydus expects them. */
const DIRECTORY = 'image';
const BOOTSTRAP_NAME = /^(?:\.\/)?(?:image\/)?image\.boot$/;
const BLOB_META_NAME = /^(?:\.\/)?(?:image\/)?([0-9a-f]{64})\.blob\.meta$/;

/** Header byte in which zlib names the operating system; 255 is "unknown", so that the bytes are the same everywhere. */
const GZIP_OS_OFFSET = 9;
/** Nothing else goes on while this layer is packed: level 9 takes six times as long and makes it 0.4 % smaller. */
const GZIP_LEVEL = 7;
/** Bytes that go into and come out of gzip at once. */
const TAR_PIECE_SIZE = 1 << 20;
const GZIP_PIECE_SIZE = 256 << 10;

/** Chunk map of one blob, as nydusd keeps it beside its cache (`.blob.meta`). */
interface BlobMetaFile {
  /** Hexadecimal digest of the blob's layer. */
  layerHex: string;
  bytes: Buffer;
}

/** A file that is made while it is written: `size` bytes in pieces, each good until the next one is asked for. */
interface FileInPieces {
  size: number;
  pieces(): Iterable<Buffer>;
}

/** What a bootstrap layer is made of. */
export interface BootstrapLayerContent {
  bootstrap: Buffer | FileInPieces;
  /** In the order in which they are to stand. */
  blobMetas: readonly BlobMetaFile[];
}

/**
 * Makes the bootstrap layer: a gzip'd tar of `image/image.boot` and one `image/<layer>.blob.meta` per blob, in the order
 * given. Same input, same bytes, which `write` is given as they come. `diffId` is the digest of the tar, which ends with exactly two
 * zero blocks, as nydusify's check wants it.
 */
export async function writeBootstrapLayer(
  content: BootstrapLayerContent,
  write: (bytes: Buffer) => Promise<void>,
): Promise<{ diffId: Digest }> {
  const hash = sha256Stream();
  function* hashed(): Generator<Buffer> {
    for (const piece of tarPieces(content)) {
      hash.update(piece);
      yield piece;
    }
  }
  await pipeline(
    // Asks for the next piece when gzip is through with the one before, as that is larger than what may wait there.
    hashed,
    createGzip({ level: GZIP_LEVEL, chunkSize: GZIP_PIECE_SIZE }),
    async (pieces: AsyncIterable<Buffer>) => {
      let isFirst = true;
      for await (const piece of pieces) {
        if (isFirst) piece[GZIP_OS_OFFSET] = 255;
        isFirst = false;
        await write(piece);
      }
    },
  );
  return { diffId: `sha256:${hash.hex()}` };
}

/** As `writeBootstrapLayer`, in one buffer. */
export async function packBootstrapLayer(
  content: BootstrapLayerContent,
): Promise<{ bytes: Buffer; diffId: Digest }> {
  const pieces: Buffer[] = [];
  const { diffId } = await writeBootstrapLayer(content, async (piece) => void pieces.push(piece));
  return { bytes: Buffer.concat(pieces), diffId };
}

function* tarPieces({ bootstrap, blobMetas }: BootstrapLayerContent): Generator<Buffer> {
  yield encodeTarHeader({ name: DIRECTORY, type: 'dir', mode: 0o755, size: 0 });
  yield* filePieces(`${DIRECTORY}/image.boot`, Buffer.isBuffer(bootstrap) ? inPieces(bootstrap) : bootstrap);
  for (const { layerHex, bytes } of blobMetas)
    yield* filePieces(`${DIRECTORY}/${layerHex}.blob.meta`, inPieces(bytes));
  yield Buffer.alloc(2 * TAR_BLOCK);
}

function inPieces(bytes: Buffer): FileInPieces {
  return { size: bytes.length, pieces: () => [bytes] };
}

function* filePieces(name: string, { size, pieces }: FileInPieces): Generator<Buffer> {
  yield encodeTarHeader({ name, type: 'file', mode: 0o444, size });
  for (const piece of pieces()) {
    for (let at = 0; at < piece.length; at += TAR_PIECE_SIZE) yield piece.subarray(at, at + TAR_PIECE_SIZE);
  }
  yield Buffer.alloc(-size & (TAR_BLOCK - 1));
}

/** What a bootstrap layer holds. */
export interface BootstrapLayer {
  bootstrap: Buffer;
  /** `.blob.meta` files by the hexadecimal digest in their name. Not every writer puts them in. */
  blobMetas: Map<string, Buffer>;
}

/**
 * Reads a bootstrap layer to its end. Entries with other names are skipped. MALFORMED, TRUNCATED or LIMIT_EXCEEDED with
 * the entry's offset in the tar; NOT_FOUND if there is no `image.boot`. `name` says in errors whose layer it is; `onTar` is given the
 * uncompressed tar piece by piece.
 */
export async function unpackBootstrapLayer(
  layer: Readable,
  name: string,
  onTar: (piece: Buffer) => void = () => {},
): Promise<BootstrapLayer> {
  const { tar } = await decompressLayer(layer, name);
  let size = 0;
  async function* measured(): AsyncGenerator<Buffer> {
    for await (const piece of tar as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > MAX_TAR_SIZE) throw tooLarge(name, `the tar has more than ${MAX_TAR_SIZE} bytes`);
      onTar(piece);
      yield piece;
    }
  }
  const reader = new PieceReader(measured());
  try {
    const files = await readEntries(reader, name);
    await reader.skip(Number.POSITIVE_INFINITY);
    return files;
  } finally {
    await reader.close();
    tar.destroy();
  }
}

async function readEntries(
  reader: PieceReader,
  name: string,
): Promise<{ bootstrap: Buffer; blobMetas: Map<string, Buffer> }> {
  let bootstrap: Buffer | undefined;
  const blobMetas = new Map<string, Buffer>();
  for (let entries = 0; ; entries++) {
    const at = reader.position;
    const entry = await nextEntry(reader, name);
    if (entry === undefined) break;
    if (entries >= MAX_TAR_ENTRIES) throw tooLarge(name, `the tar has more than ${MAX_TAR_ENTRIES} entries`);
    const metaHex = entry.isFile ? BLOB_META_NAME.exec(entry.name)?.[1] : undefined;
    const where = `${name}: ${printable(entry.name)} at ${at}`;
    if (metaHex !== undefined) {
      blobMetas.set(metaHex, await readContent(reader, entry, MAX_BLOB_META_SIZE, where));
    } else if (entry.isFile && BOOTSTRAP_NAME.test(entry.name)) {
      bootstrap = await readContent(reader, entry, MAX_BOOTSTRAP_SIZE, where);
    } else {
      await skipContent(reader, entry.size, where);
    }
  }
  if (bootstrap === undefined) {
    throw new RafterError('NOT_FOUND', `${name}: the bootstrap layer has no ${DIRECTORY}/image.boot`);
  }
  return { bootstrap, blobMetas };
}

/** What a tar header says of what follows it. */
interface TarEntry {
  name: string;
  isFile: boolean;
  size: number;
}

async function nextEntry(reader: PieceReader, name: string): Promise<TarEntry | undefined> {
  const at = reader.position;
  const block = Buffer.alloc(TAR_BLOCK);
  const got = await reader.read(block);
  // A tar that simply stops between two entries is read as if the zero blocks were there, as tar(1) does.
  if (got === 0) return undefined;
  if (got < TAR_BLOCK) throw new RafterError('TRUNCATED', `${name}: the tar ends within the header at ${at}`);
  if (block.every((byte) => byte === 0)) return undefined;
  const what = `${name}: the tar entry at ${at}`;
  const header = readTarHeader(block, what);
  const size = header.number('size', what);
  if (size < 0) throw new RafterError('MALFORMED', `${what}: negative size`);
  return { name: header.path.toString(), isFile: header.type === '0' || header.type === '\0', size };
}

async function readContent(
  reader: PieceReader,
  { size }: TarEntry,
  limit: number,
  where: string,
): Promise<Buffer> {
  if (size > limit) throw tooLarge(where, `${size} bytes, more than the limit of ${limit}`);
  let content = Buffer.allocUnsafe(Math.min(size, FIRST_ALLOCATION));
  for (let filled = 0; filled < size; filled = content.length) {
    if (filled > 0) content = Buffer.concat([content], Math.min(size, 2 * filled));
    if ((await reader.read(content.subarray(filled))) < content.length - filled)
      throw new RafterError('TRUNCATED', `${where}: the tar ends within it`);
  }
  await reader.skip(-size & (TAR_BLOCK - 1));
  return content;
}

async function skipContent(reader: PieceReader, size: number, where: string): Promise<void> {
  if (size > MAX_TAR_SIZE) throw tooLarge(where, `${size} bytes, more than the limit of ${MAX_TAR_SIZE}`);
  const padded = Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  if ((await reader.skip(padded)) < size)
    throw new RafterError('TRUNCATED', `${where}: the tar ends within it`);
}

function tooLarge(where: string, what: string): RafterError {
  return new RafterError('LIMIT_EXCEEDED', `${where}: ${what}`);
}

/** Reads given numbers of bytes from pieces of any size. */
class PieceReader {
  /** Bytes taken so far. */
  position = 0;
  readonly #pieces: AsyncGenerator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncGenerator<Buffer>) {
    this.#pieces = pieces;
  }

  /** Fills `target`; fewer bytes than it holds mean the end. */
  read(target: Buffer): Promise<number> {
    return this.#take(target.length, (piece, at) => piece.copy(target, at));
  }

  /** Passes over `count` bytes; fewer mean the end. */
  skip(count: number): Promise<number> {
    return this.#take(count, () => {});
  }

  async close(): Promise<void> {
    await this.#pieces.return(undefined);
  }

  async #take(count: number, use: (piece: Buffer, at: number) => void): Promise<number> {
    let done = 0;
    while (done < count) {
      if (this.#rest.length === 0) {
        const next = await this.#pieces.next();
        if (next.done) break;
        this.#rest = next.value;
      }
      const piece = this.#rest.subarray(0, Math.min(count - done, this.#rest.length));
      use(piece, done);
      this.#rest = this.#rest.subarray(piece.length);
      done += piece.length;
    }
    this.position += done;
    return done;
  }
}
