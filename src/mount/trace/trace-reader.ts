import type { TouchSource } from '../../trace/trace.js';
import type { BlobReader } from '../drivers/image-view.js';
import type { TraceMemory } from './trace-memory.js';

/** Where reads of one blob are noted: a trace, and the blob's position in the blob table. */
export interface BlobTrace {
  memory: TraceMemory;
  blob: number;
}

/** `reader`; what is read through it for the first time is noted in `trace`, if there is one. */
export function tracedReader(reader: BlobReader, trace: BlobTrace | undefined): BlobReader {
  if (trace === undefined) return reader;
  const { memory, blob } = trace;
  return {
    async read(offset, target, signal) {
      const touches = memory.waiting(blob, offset, target.length);
      // What cannot be had was waited for, too.
      let from: TouchSource = 'fetch';
      try {
        from = await reader.read(offset, target, signal);
      } finally {
        memory.answered(touches, from);
      }
      return from;
    },

    readLocal(offset, target) {
      if (reader.readLocal?.(offset, target) !== true) return false;
      memory.local(blob, offset, target.length);
      return true;
    },
  };
}
