import { decompress } from '../codec/compressor.js';
import { DIGEST_SIZE, sha256 } from '../codec/digest.js';
import { decryptUnit } from '../codec/unit-cipher.js';
import { BlobFeature, hasFeature } from '../rafs/blob-features.js';
import type { RafsBlob } from '../rafs/bootstrap.js';
import { CONTEXT_HEADER_SIZE } from '../rafs/context-header.js';
import { TAR_FOOTER_SIZE } from '../rafs/tar-footer.js';
import { findToc, TOC_TAIL_SIZE } from '../rafs/toc.js';
import { TOC_ENTRY_SIZE, type TocEntry, TocName } from '../rafs/toc-entry.js';
import { checkSections } from './check-sections.js';
import type { FaultList } from './faults.js';
import { findNonZero } from './zeros.js';

/** Most bytes of a section that is read as a whole. */
const MAX_SECTION_SIZE = 256 << 20;
/** Where the unused bytes of a context header begin, and the size of the number that ends it. */
const CONTEXT_RESERVED = 60;
const CONTEXT_MAGIC_SIZE = 4;

export interface TocCheck {
  blob: RafsBlob;
  /** Bytes of the object that holds the table of contents: the blob, or what is beside it. */
  size: number;
  read(offset: number, length: number): Promise<Buffer>;
  /** What the bootstrap says is the digest of a chunk, undefined if it does not say. */
  digestOf(chunk: number): Buffer | undefined;
}

/**
 * Checks a blob's table of contents against the blob table, and every section but the chunk data against its digest. Returns
 * the entry of the chunk data, whose digest shows when the blob is read, undefined if there is no table of contents.
 */
export async function checkToc(check: TocCheck, faults: FaultList): Promise<TocEntry | undefined> {
  const { blob, size, read } = check;
  const place = { blob: blob.id };
  const tailSize = Math.min(TOC_TAIL_SIZE, size);
  const tail = await faults.guard('blob', () => read(size - tailSize, tailSize), place);
  if (!tail || !hasFeature(blob.features, BlobFeature.HAS_TOC)) return undefined;
  const toc = await faults.guard('blob', () => findToc(tail, size, `blob ${blob.id}`), place);
  if (!toc) {
    faults.add('blob', 'there is no table of contents at its end', place);
    return undefined;
  }
  if (blob.tocSize > 0 && blob.tocSize <= tail.length) {
    const actual = sha256(tail.subarray(tail.length - blob.tocSize));
    if (!actual.equals(blob.tocDigest))
      faults.add('blob', 'the table of contents does not match its digest in the bootstrap', place);
  }
  checkPlaces(toc, blob, faults);
  const tableSize = toc.length * TOC_ENTRY_SIZE;
  const tableOffset = size - TAR_FOOTER_SIZE - tableSize;
  const table = tail.subarray(tableOffset - (size - tail.length)).subarray(0, tableSize);
  await checkSections({ blob, toc, table, tableOffset, read }, faults);
  for (const entry of toc) {
    if (entry.name !== TocName.DATA) await checkSection(entry, check, faults);
  }
  return toc.find(({ name }) => name === TocName.DATA);
}

/** The chunk map is found in two ways: through the bootstrap and through the table of contents. */
function checkPlaces(toc: TocEntry[], blob: RafsBlob, faults: FaultList): void {
  const { ci } = blob;
  const expected = new Map<string, [number, number, number]>([
    [TocName.CHUNK_INFOS, [ci.offset, ci.compressedSize, ci.uncompressedSize]],
  ]);
  for (const { name, offset, storedSize, size } of toc) {
    const place = expected.get(name);
    if (place && (offset !== place[0] || storedSize !== place[1] || size !== place[2])) {
      faults.add(
        'blob',
        `table of contents: ${name} is ${storedSize} bytes (decoded ${size}) at ${offset}, but the bootstrap says ` +
          `${place[1]} (decoded ${place[2]}) at ${place[0]}`,
        { blob: blob.id, offset },
      );
    }
    expected.delete(name);
    if (name === TocName.CONTEXT_HEADER && size !== CONTEXT_HEADER_SIZE)
      faults.add('blob', `table of contents: ${name} has ${size} bytes`, { blob: blob.id, offset });
  }
  for (const name of expected.keys())
    faults.add('blob', `the table of contents has no ${name}`, { blob: blob.id });
}

async function checkSection(entry: TocEntry, check: TocCheck, faults: FaultList): Promise<void> {
  const { blob, read } = check;
  const { name, offset, storedSize, size, compressor, digest } = entry;
  const place = { blob: blob.id, offset };
  if (storedSize > MAX_SECTION_SIZE || size > MAX_SECTION_SIZE) {
    faults.add('blob', `section ${name} has ${Math.max(storedSize, size)} bytes`, place);
    return;
  }
  const decoded = await faults.guard(
    'blob',
    async () => {
      const section = await read(offset, storedSize);
      const isEncrypted = name === TocName.CHUNK_INFOS || name === TocName.CONTEXT_HEADER;
      const stored = blob.cipher && isEncrypted ? decryptUnit(blob.cipher, section) : section;
      return compressor === 'none' ? stored : decompress(compressor, stored, size);
    },
    place,
  );
  if (!decoded) return;
  if (!sha256(decoded).equals(digest))
    faults.add('blob', `section ${name} does not match its digest in the table of contents`, place);
  if (name === TocName.CONTEXT_HEADER) {
    const unused = findNonZero(decoded, CONTEXT_RESERVED, CONTEXT_HEADER_SIZE - CONTEXT_MAGIC_SIZE);
    if (unused !== undefined)
      faults.add('blob', 'reserved bytes of the context header must be 0', {
        ...place,
        offset: offset + unused,
      });
  }
  if (name === TocName.DIGESTS) checkDigests(decoded, offset, check, faults);
}

/** The digests of all chunks stand in the blob too, for readers that do not trust the bootstrap's. */
function checkDigests(
  digests: Buffer,
  offset: number,
  { blob, digestOf }: TocCheck,
  faults: FaultList,
): void {
  const expected = blob.chunkCount * DIGEST_SIZE;
  if (digests.length !== expected) {
    const message = `section ${TocName.DIGESTS} has ${digests.length} bytes for ${blob.chunkCount} chunks`;
    faults.add('blob', message, { blob: blob.id, offset });
    return;
  }
  for (let chunk = 0; chunk < blob.chunkCount; chunk++) {
    const at = chunk * DIGEST_SIZE;
    const listed = digestOf(chunk);
    if (listed && !listed.equals(digests.subarray(at, at + DIGEST_SIZE)))
      faults.add('blob', `section ${TocName.DIGESTS} and the bootstrap do not agree`, {
        blob: blob.id,
        chunk,
        offset: offset + at,
      });
  }
}
