import { BlobFeature, hasFeature } from '../rafs/blob-features.js';
import type { RafsBlob } from '../rafs/bootstrap.js';
import { encodeTarFooter, TAR_FOOTER_SIZE } from '../rafs/tar-footer.js';
import { TOC_ENTRY_SIZE, type TocEntry, TocName } from '../rafs/toc-entry.js';
import type { FaultList } from './faults.js';
import { findNonZero } from './zeros.js';

/** Unused bytes of an entry: offset and end. Older writers left stray bytes in the last four. */
const RESERVED = [
  [4, 8],
  [80, 124],
] as const;

/** The sections of a blob in the order in which they stand. */
const ORDER: readonly string[] = Object.values(TocName);

export interface Sections {
  blob: RafsBlob;
  toc: readonly TocEntry[];
  /** The stored table, and its byte offset in the blob. */
  table: Buffer;
  tableOffset: number;
  read(offset: number, length: number): Promise<Buffer>;
}

/**
 * Checks that a blob is nothing but its sections, each once, in order, one behind the other and followed by its tar header, and
 * that the table of contents lists what the blob's features promise.
 */
export async function checkSections(sections: Sections, faults: FaultList): Promise<void> {
  const { blob, toc, table, tableOffset } = sections;
  const add = (message: string, offset: number) => faults.add('blob', message, { blob: blob.id, offset });
  let last = -1;
  let end = 0;
  for (const [i, entry] of toc.entries()) {
    const at = i * TOC_ENTRY_SIZE;
    for (const [from, to] of RESERVED) {
      const offset = findNonZero(table, at + from, at + to);
      if (offset !== undefined)
        add(`table of contents: reserved bytes of ${entry.name} must be 0`, tableOffset + offset);
    }
    const position = ORDER.indexOf(entry.name);
    if (position <= last)
      add(
        `table of contents: ${entry.name} is ${position < 0 ? 'unknown' : 'out of order'}`,
        tableOffset + at,
      );
    last = Math.max(last, position);
    // Nydus 2.2 wrote the size of the data where its offset, 0, belongs.
    const start = entry.name === TocName.DATA && entry.offset === entry.storedSize ? 0 : entry.offset;
    if (start !== end)
      add(`section ${entry.name} begins at ${start}, the one before it ends at ${end}`, start);
    end = start + entry.storedSize;
    // Chunk map and its header share a tar header.
    if (entry.name === TocName.CHUNK_INFOS) continue;
    const shared = entry.name === TocName.CONTEXT_HEADER ? blob.ci.compressedSize : 0;
    const name = entry.name === TocName.CONTEXT_HEADER ? TocName.CHUNK_INFOS : entry.name;
    await checkFooter(sections, { name, size: shared + entry.storedSize, offset: end }, faults);
    end += TAR_FOOTER_SIZE;
  }
  if (end !== tableOffset)
    add(`the table of contents is at ${tableOffset}, the last section ends at ${end}`, end);
  const promised = hasFeature(blob.features, BlobFeature.INLINED_CHUNK_DIGEST);
  if (promised && !toc.some(({ name }) => name === TocName.DIGESTS))
    add(`the table of contents has no ${TocName.DIGESTS}, which the blob's features promise`, tableOffset);
}

async function checkFooter(
  { blob, read }: Sections,
  { name, size, offset }: { name: string; size: number; offset: number },
  faults: FaultList,
): Promise<void> {
  const place = { blob: blob.id, offset };
  const footer = await faults.guard('blob', () => read(offset, TAR_FOOTER_SIZE), place);
  if (footer && !footer.equals(encodeTarFooter({ name, size })))
    faults.add('blob', `the tar header behind section ${name} is not that of ${size} bytes`, place);
}
