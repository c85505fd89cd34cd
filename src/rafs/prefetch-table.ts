/** Bytes of one entry of the RAFS v6 prefetch table: a nid. */
export const PREFETCH_ENTRY_SIZE = 4;

/** Writes the nids, first = most important, at `offset` of `target`. */
export function encodePrefetchTable(nids: readonly number[], target: Buffer, offset: number): void {
  nids.forEach((nid, i) => {
    target.writeUInt32LE(nid, offset + i * PREFETCH_ENTRY_SIZE);
  });
}

/** Reads a table of `size` bytes at `offset`; it ends early at a nid of 0. */
export function decodePrefetchTable(bytes: Buffer, offset: number, size: number): number[] {
  const nids: number[] = [];
  for (let at = offset; at < offset + size; at += PREFETCH_ENTRY_SIZE) {
    const nid = bytes.readUInt32LE(at);
    if (nid === 0) break;
    nids.push(nid);
  }
  return nids;
}
