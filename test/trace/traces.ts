import type { Touch, Trace } from '../../src/trace/trace.js';

/** A trace of an image of two blobs. */
export function traceOf(touches: Touch[], header: Partial<Trace> = {}): Trace {
  return {
    reference: 'registry.example.com/python:1',
    manifest: `sha256:${'a'.repeat(64)}`,
    blobs: ['b'.repeat(64), 'c'.repeat(64)],
    driver: 'erofs',
    startedAt: '2026-01-02T03:04:05.678Z',
    ...header,
    touches,
  };
}

/** A touch of blob 0, in pages. */
export function touchOf(page: number, pages: number, more: Partial<Touch> = {}): Touch {
  return { blob: 0, offset: page * 4096, length: pages * 4096, atMs: 0, waitedMs: 0, from: 'local', ...more };
}
