/** Bytes of a batch context; contexts follow the chunk infos in the decoded array of a blob with feature BATCH. */
export const BATCH_CONTEXT_SIZE = 40;

const STORED_SIZE = 0;
const DECODED_SIZE = 4;

/** One batch: several chunks compressed as one unit. It is stored raw if both sizes are equal. */
export interface BatchContext {
  storedSize: number;
  decodedSize: number;
}

/** Writes 40 bytes at `offset` of `target`, which must be zero there. */
export function encodeBatchContext(context: BatchContext, target: Buffer, offset: number): void {
  target.writeUInt32LE(context.storedSize, offset + STORED_SIZE);
  target.writeUInt32LE(context.decodedSize, offset + DECODED_SIZE);
}

/** Reads 40 bytes at `offset`. */
export function decodeBatchContext(bytes: Buffer, offset: number): BatchContext {
  return {
    storedSize: bytes.readUInt32LE(offset + STORED_SIZE),
    decodedSize: bytes.readUInt32LE(offset + DECODED_SIZE),
  };
}
