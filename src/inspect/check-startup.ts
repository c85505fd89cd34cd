import type { Readable } from 'node:stream';
import { decodeUnit, unitOf } from '../cache/unit.js';
import { useBlob } from '../image/asking-others.js';
import type { StartupLayer } from '../image/startup-layer.js';
import { chunksOver } from '../rafs/chunks-over.js';
import { openPack, packReferenceOf } from '../startup/read-pack.js';
import type { PackTable } from '../startup/table.js';
import { addFaults, createFaultList, type FaultList } from './faults.js';
import type { OpenImage } from './open-image.js';

/** Most decoded units of blobs that are held at once: pieces come in the order of first use, which goes back and forth. */
const MAX_HELD_UNITS = 64;

type Piece = PackTable['pieces'][number];

/**
 * Checks a start-up pack in one pass over its bytes: table, every unit, and that every piece is what the chunks that it is copied from
 * hold. Returns the bytes that were read of it.
 */
export async function checkStartupPack(
  image: OpenImage,
  layer: StartupLayer,
  { faults, signal }: { faults: FaultList; signal?: AbortSignal | undefined },
): Promise<number> {
  const { source, name } = image;
  const { descriptor } = layer;
  let tried = createFaultList();
  const use = async (stream: Readable) => {
    tried = createFaultList();
    const { table, units } = await openPack(stream, packReferenceOf(layer, name));
    const compare = createComparison(image, tried, signal);
    const piecesOf: Piece[][] = table.units.map(() => []);
    for (const piece of table.pieces) piecesOf[piece.unit]?.push(piece);
    let index = 0;
    for await (const bytes of units) {
      signal?.throwIfAborted();
      const { position } = table.units[index]!;
      for (const piece of piecesOf[index]!) {
        const start = piece.position - position;
        await compare(table.blobs[piece.blob]!, piece, bytes.subarray(start, start + piece.length));
      }
      index++;
    }
  };
  await faults.guard('blob', async () => {
    try {
      await useBlob(source, descriptor, { signal, use, onWrong: faults.readAgain });
    } finally {
      addFaults(tried, faults);
    }
  });
  return descriptor.size;
}

/** Compares pieces with what the blobs hold. */
function createComparison(image: OpenImage, faults: FaultList, signal: AbortSignal | undefined) {
  const { bootstrap, source } = image;
  const held = new Map<string, Map<number, Buffer>>();
  const indexes = new Map(bootstrap.blobs.map(({ id }, index) => [id, index]));

  async function decoded(blobIndex: number, index: number): Promise<Buffer | undefined> {
    const layout = await image.layout(blobIndex);
    const unit = unitOf(layout, layout.chunk(index));
    const key = `${blobIndex} ${unit.storedOffset}`;
    let good = held.get(key);
    if (good?.get(index) === undefined) {
      const descriptor = image.descriptorOf(bootstrap.blobs[blobIndex]!);
      const stored = await source.readBlobRange(descriptor, unit.storedOffset, unit.storedSize, signal);
      good = decodeUnit(layout, unit, stored).good;
      held.set(key, good);
      if (held.size > MAX_HELD_UNITS) held.delete(held.keys().next().value!);
    }
    return good.get(index);
  }

  return async (id: string, piece: Piece, bytes: Buffer): Promise<void> => {
    const blobIndex = indexes.get(id);
    const fault = (what: string, chunk?: number) =>
      faults.add(
        'blob',
        `start-up pack: the piece from ${piece.offset} to ${piece.offset + piece.length} ${what}`,
        {
          blob: id,
          ...(chunk !== undefined && { chunk }),
        },
      );
    if (blobIndex === undefined) return fault('is of a blob that the image has not');
    const layout = await image.layout(blobIndex);
    if (piece.offset + piece.length > layout.decodedSize) return fault('reaches behind the end of the blob');
    const expected = Buffer.alloc(piece.length);
    for (const { index, decodedOffset } of chunksOver(layout, piece.offset, piece.length)) {
      const chunk = await decoded(blobIndex, index);
      if (chunk === undefined) return fault('is of a chunk that cannot be verified', index);
      chunk.copy(
        expected,
        Math.max(decodedOffset - piece.offset, 0),
        Math.max(piece.offset - decodedOffset, 0),
      );
    }
    if (!expected.equals(bytes)) fault('is not what the blob holds there');
  };
}
