import { chunkDigest, ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { StartupLayer } from '../image/startup-layer.js';
import { Borrowed } from '../os/spare-memory.js';
import { byteTaker } from './byte-taker.js';
import { fieldChecks } from './field-checks.js';
import { HEADER_SIZE, MAX_STORED_TABLE_SIZE, type PackTable, parseTable } from './table.js';

/** What an image's manifest says of its start-up pack. */
export interface PackReference {
  /** For messages. */
  name: string;
  /** Bytes of the file. */
  size: number;
  /** Bytes of header and table, at its beginning. */
  tableSize: number;
  /** Their SHA-256, `sha256:` and 64 hex digits. */
  tableDigest: string;
}

/** The start-up pack of the image `imageName`, as `layer` of its manifest names it. */
export function packReferenceOf(layer: StartupLayer, imageName: string): PackReference {
  const { descriptor, tableSize, tableDigest } = layer;
  const name = `${imageName}: start-up pack ${descriptor.digest}`;
  return { name, size: descriptor.size, tableSize, tableDigest };
}

/** A pack that is being read. */
export interface OpenPack {
  table: PackTable;
  /**
   * The decoded bytes of each unit, in order, as they arrive, each good until the next one is asked for. Ends early with DIGEST_MISMATCH,
   * TRUNCATED or MALFORMED.
   */
  units: AsyncGenerator<Buffer, void, undefined>;
  /** Ends the stream for one who does not read `units`: a generator that was never begun ends nothing. */
  end(): Promise<void>;
}

/**
 * The table in `head`, the first `tableSize` bytes of a pack. Throws DIGEST_MISMATCH, MALFORMED if it is that of another pack, and what
 * `parseTable` throws.
 */
export function parsePackHead(head: Buffer, { name, size, tableDigest }: PackReference): PackTable {
  const digest = ociDigest(head);
  if (digest !== tableDigest)
    throw new RafterError(
      'DIGEST_MISMATCH',
      `${name}: the table has digest ${digest}, expected ${tableDigest}`,
    );
  const table = parseTable(head, name);
  if (table.size !== size)
    throw new RafterError('MALFORMED', `${name}: ${size} bytes, but its table describes ${table.size}`);
  return table;
}

/** Throws MALFORMED unless there can be such a table: what is asked for ends up in memory. */
export function checkTableSize({ name, size, tableSize }: PackReference): void {
  if (tableSize < HEADER_SIZE || tableSize > HEADER_SIZE + MAX_STORED_TABLE_SIZE || tableSize > size)
    throw new RafterError('MALFORMED', `${name}: a table of ${tableSize} bytes in a pack of ${size}`);
}

/**
 * Reads a pack from its first byte on: resolves with the table as soon as that is here and verified. Throws DIGEST_MISMATCH,
 * TRUNCATED and what `parseTable` throws. Of `stream` no more is read than is asked for; it is ended with `units`, by `end`, or by an error.
 */
export async function openPack(stream: AsyncIterable<Buffer>, reference: PackReference): Promise<OpenPack> {
  const { name, tableSize } = reference;
  const taker = byteTaker(stream, name);
  try {
    checkTableSize(reference);
    const table = parsePackHead(await taker.take(tableSize), reference);
    return { table, units: readUnits(table, taker, name), end: () => taker.end() };
  } catch (error) {
    await taker.end();
    throw error;
  }
}

async function* readUnits(
  table: PackTable,
  taker: ReturnType<typeof byteTaker>,
  name: string,
): AsyncGenerator<Buffer, void, undefined> {
  const checks = fieldChecks(name);
  try {
    for (const [index, { storedSize, storedOffset, decodedSize, digest }] of table.units.entries()) {
      const memory = new Borrowed();
      const stored = await taker.take(storedSize, memory);
      if (!chunkDigest('blake3', stored).equals(digest))
        throw new RafterError(
          'DIGEST_MISMATCH',
          `${name}: unit ${index} at offset ${storedOffset} is damaged`,
        );
      const unit = { stored, size: decodedSize, room: memory };
      yield await checks.decodedAside(`unit ${index}`, storedOffset, unit);
      memory.giveBack();
    }
    await taker.finish();
  } finally {
    await taker.end();
  }
}
