import { decompress, decompressAside } from '../codec/compressor.js';
import { messageOf, RafterError } from '../errors.js';
import type { Borrowed } from '../os/spare-memory.js';

/** Checks of the fields of a start-up pack called `name`, each with the offset that its message gives. */
export function fieldChecks(name: string) {
  const fault = (field: string, at: number, what: string) =>
    new RafterError('MALFORMED', `${name}: ${field} at offset ${at}: ${what}`);

  return {
    /** The error for a field that is wrong. */
    fault,

    /** `value`; LIMIT_EXCEEDED if it is above `limit`. */
    limited(field: string, at: number, { value, limit }: { value: number; limit: number }): number {
      if (value > limit)
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${name}: ${field} at offset ${at}: ${value}, at most ${limit}`,
        );
      return value;
    },

    /** As `limited`; MALFORMED also for 0. */
    counted(field: string, at: number, { value, limit }: { value: number; limit: number }): number {
      if (value === 0) throw fault(field, at, '0');
      return this.limited(field, at, { value, limit });
    },

    /** The `size` bytes that the zstd frame `stored` decodes to; MALFORMED if it does not. */
    decoded(field: string, at: number, { stored, size }: { stored: Buffer; size: number }): Buffer {
      try {
        return decompress('zstd', stored, size);
      } catch (error) {
        throw fault(field, at, messageOf(error));
      }
    },

    /** As `decoded`, on another thread where that can be, into what `room` gives; nobody may change `stored` until then. */
    async decodedAside(
      field: string,
      at: number,
      unit: { stored: Buffer; size: number; room: Pick<Borrowed, 'take'> },
    ): Promise<Buffer> {
      try {
        return await decompressAside('zstd', unit.stored, unit.size, unit.room);
      } catch (error) {
        throw fault(field, at, messageOf(error));
      }
    },

    /** MALFORMED unless all `bytes` are 0. */
    zeros(field: string, at: number, bytes: Buffer): void {
      const found = bytes.findIndex((byte) => byte !== 0);
      if (found >= 0) throw fault(field, at + found, `${bytes[found]} instead of 0`);
    },
  };
}
