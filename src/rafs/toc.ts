import type { Compressor } from '../codec/compressor.js';
import { decompress } from '../codec/compressor.js';
import { sha256 } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import { decodeTarFooter, encodeTarFooter, TAR_FOOTER_SIZE } from './tar-footer.js';
import { decodeTocEntry, encodeTocEntry, TOC_ENTRY_SIZE, type TocEntry, TocName } from './toc-entry.js';

/** Name in the tar header behind the table of contents. */
const TOC_FOOTER_NAME = 'rafs.blob.toc';

/** How many of a blob's last bytes `findToc` and `findInlineBootstrap` want (fewer if the blob is smaller). */
export const TOC_TAIL_SIZE = 4096;

/** A table of contents with its tar header: the last bytes of a blob. */
export function encodeToc(entries: readonly TocEntry[]): Buffer {
  const table = Buffer.alloc(entries.length * TOC_ENTRY_SIZE);
  entries.forEach((entry, i) => {
    encodeTocEntry(entry, table, i * TOC_ENTRY_SIZE);
  });
  return Buffer.concat([table, encodeTarFooter({ name: TOC_FOOTER_NAME, size: table.length })]);
}

/**
 * The table of contents of a blob of `blobSize` bytes that ends in `tail` (TOC_TAIL_SIZE bytes, or the whole blob), or
 * undefined if the blob ends in another tar header.
 * Throws MALFORMED if the end is no tar header of a Nydus blob or an entry names bytes outside the blob.
 */
export function findToc(tail: Buffer, blobSize: number, source: string): TocEntry[] | undefined {
  const footer = decodeTarFooter(tail, tail.length - TAR_FOOTER_SIZE, source);
  if (footer.name !== TOC_FOOTER_NAME) return undefined;
  const at = tail.length - TAR_FOOTER_SIZE - footer.size;
  if (footer.size === 0 || footer.size % TOC_ENTRY_SIZE !== 0 || at < 0) {
    throw malformed(source, 'TOC', blobSize - TAR_FOOTER_SIZE, `${footer.size} bytes`);
  }
  return Array.from({ length: footer.size / TOC_ENTRY_SIZE }, (_, i) => {
    const entry = decodeTocEntry(tail, at + i * TOC_ENTRY_SIZE, source);
    if (entry.offset + entry.storedSize > blobSize - TAR_FOOTER_SIZE) {
      throw malformed(
        source,
        `TOC entry ${entry.name}`,
        entry.offset,
        `${entry.storedSize} bytes end outside the blob`,
      );
    }
    return entry;
  });
}

/** Where in a layer's blob its own bootstrap is. */
export interface InlineBootstrap {
  offset: number;
  storedSize: number;
  /** Decoded bytes. */
  size: number;
  compressor: Compressor;
  /** SHA-256 of the decoded bytes, if the blob says. */
  digest: Buffer | undefined;
}

/**
 * Finds the bootstrap that a Nydus layer blob carries, by its table of contents or, in a blob without one, by the last
 * tar header. `tail` as for `findToc`. Throws NOT_FOUND if the blob carries none, MALFORMED as `findToc`.
 */
export function findInlineBootstrap(tail: Buffer, blobSize: number, source: string): InlineBootstrap {
  const toc = findToc(tail, blobSize, source);
  const entry = toc?.find(({ name }) => name === TocName.BOOTSTRAP);
  if (entry) return entry;
  const footer = decodeTarFooter(tail, tail.length - TAR_FOOTER_SIZE, source);
  if (footer.name !== TocName.BOOTSTRAP)
    throw new RafterError('NOT_FOUND', `${source}: carries no bootstrap`);
  const offset = blobSize - TAR_FOOTER_SIZE - footer.size;
  if (offset < 0) throw malformed(source, 'image.boot', blobSize - TAR_FOOTER_SIZE, `${footer.size} bytes`);
  return { offset, storedSize: footer.size, size: footer.size, compressor: 'none', digest: undefined };
}

/**
 * The bootstrap, from the `storedSize` bytes at its `offset`. Throws MALFORMED if they do not decode and DIGEST_MISMATCH
 * if they decode to something else than the blob says.
 */
export function decodeInlineBootstrap(stored: Buffer, place: InlineBootstrap, source: string): Buffer {
  const decoded = decompress(place.compressor, stored, place.size);
  if (place.digest && !sha256(decoded).equals(place.digest)) {
    throw new RafterError('DIGEST_MISMATCH', `${source}: the bootstrap inside does not match its digest`);
  }
  return decoded;
}
