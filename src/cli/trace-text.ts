import type { TraceSummary } from '../trace/summary.js';
import type { Trace } from '../trace/trace.js';
import { formatBytes, formatDuration, formatTable } from './format.js';
import { escapeName, jsonName } from './names.js';

/** What `rafter trace show` prints for people. */
export function traceText(trace: Trace, summary: TraceSummary): string {
  const { files, longest, classes } = summary;
  const read = files.map(({ path, firstMs, bytes, waitedMs, touches }) => [
    formatDuration(firstMs),
    formatBytes(bytes),
    String(touches.length),
    waitedMs > 0 ? formatDuration(waitedMs) : '',
    escapeName(path),
  ]);
  const waits = longest.map(({ atMs, waitedMs, from, length, file }) => [
    formatDuration(waitedMs),
    formatDuration(atMs),
    from,
    formatBytes(length),
    file === undefined ? '' : escapeName(file.path),
  ]);
  const ahead = trace.readAheadKiB === undefined ? '' : `, read-ahead ${trace.readAheadKiB} KiB`;
  return [
    formatTable([['FIRST', 'BYTES', 'TOUCHES', 'WAITED', 'FILE'], ...read]),
    '',
    ...(waits.length > 0 ? ['The longest waits:'] : []),
    ...(waits.length > 0 ? [formatTable([['WAITED', 'AT', 'FOR', 'BYTES', 'FILE'], ...waits]), ''] : []),
    `${trace.reference} (driver ${trace.driver}${ahead})`,
    `${files.length} files, ${formatBytes(summary.touchedBytes)} in ${summary.pages} pages, within ${formatDuration(summary.spanMs)}`,
    `in chunks: ${summary.chunks} of ${formatBytes(summary.chunkBytes)}, ${formatBytes(summary.storedBytes)} compressed`,
    `local ${formatBytes(classes.local.bytes)}, fetched on demand ${formatBytes(classes.fetch.bytes)}, waited for in the start-up ` +
      `stream ${formatBytes(classes.startup.bytes)}; fetched and never read ${formatBytes(summary.unreadBytes)}`,
    ...(summary.pack === undefined
      ? []
      : [
          `start-up pack: ${formatBytes(summary.pack.bytes)}, of which ${formatBytes(summary.pack.unreadBytes)} were never read`,
        ]),
    ...(trace.lost === undefined ? [] : [`${trace.lost} more requests did not fit into the trace`]),
  ].join('\n');
}

/** What `rafter trace show --json` prints. Times in milliseconds since the mount was asked for, bytes decoded unless they are stored. */
export function traceJson(trace: Trace, summary: TraceSummary) {
  const { touches, ...header } = trace;
  const { files, longest, unread, pack, ...totals } = summary;
  const unreadJson = (list: typeof unread) =>
    list.map(({ path, bytes }) => ({ ...jsonName('path', path), bytes }));
  return {
    ...header,
    touches: touches.length,
    ...totals,
    files: files.map((file) => ({
      ...jsonName('path', file.path),
      size: file.size,
      firstMs: file.firstMs,
      bytes: file.bytes,
      touches: file.touches.length,
      waitedMs: file.waitedMs,
    })),
    longest: longest.map(({ file, ...touch }) => ({ ...touch, ...(file && jsonName('path', file.path)) })),
    unread: unreadJson(unread),
    ...(pack && { pack: { ...pack, unread: unreadJson(pack.unread) } }),
  };
}
