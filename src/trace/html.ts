import { bytesText, escapeText, timeText } from './markup.js';
import { PAGE_STYLE } from './page-style.js';
import type { PlacedTouch, TraceSummary, Unread } from './summary.js';
import { MAX_ROWS, overview, waterfall } from './timeline.js';
import type { TouchSource, Trace } from './trace.js';

/** How many files are told that were fetched and never read. */
const MAX_UNREAD = 20;

const LABELS: Record<TouchSource | 'unread' | 'packUnread', string> = {
  local: 'already here',
  startup: 'waited for in the start-up stream',
  fetch: 'waited for, fetched on demand',
  unread: 'fetched on demand and never read',
  packUnread: 'in the start-up pack and never read',
};

/**
 * A page that shows the start of a container: one HTML file that needs no network and runs no script, light or dark as the reader's
 * system is. Every name in it may hold any bytes.
 */
export function tracePage(trace: Trace, summary: TraceSummary): string {
  const { reference, manifest, driver, transport, readAheadKiB, startedAt, command } = trace;
  const how = [
    `driver ${driver}${transport === undefined ? '' : ` (${transport})`}`,
    ...(readAheadKiB === undefined ? [] : [`read-ahead ${readAheadKiB} KiB`]),
    startedAt.slice(0, 19).replace('T', ' '),
  ];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(`Start of ${reference}`)}</title>
<style>${PAGE_STYLE}</style>
<main>
<h1>${escapeText(reference)}</h1>
${command === undefined ? '' : `<p><code>${escapeText(command.join(' '))}</code></p>`}
<p class="dim">${escapeText(how.join(' · '))}<br><code>${escapeText(manifest)}</code></p>
${figures(summary)}
<section><h2>What was read, and what was waited for</h2>
${keys(['fetch', 'startup', 'local'])}
<p class="dim">Above: bytes that had been answered. Below: every wait, as long as it took.</p>
${overview(trace)}</section>
${bytesByClass(summary)}
${longestWaits(summary.longest, trace.touches[0]?.atMs ?? 0)}
${neverRead(summary)}
<section><h2>File by file</h2>
${keys(['fetch', 'startup', 'local'])}
${waterfall(trace, summary)}
${more(summary.files.length - MAX_ROWS, 'files')}</section>
</main>
</html>
`;
}

function figures({
  spanMs,
  touchedBytes,
  pages,
  files,
  storedBytes,
  classes,
  unreadBytes,
  pack,
}: TraceSummary): string {
  const waited = classes.fetch.waitedMs + classes.startup.waitedMs;
  const all: [string, string][] = [
    [timeText(spanMs), 'first request to last answer'],
    [bytesText(touchedBytes), `read in ${pages} pages of ${files.length} files`],
    [bytesText(storedBytes), 'compressed, in whole chunks'],
    [timeText(waited), `waited, in ${classes.fetch.touches + classes.startup.touches} requests`],
    [bytesText(unreadBytes + (pack?.unreadBytes ?? 0)), 'fetched and never read'],
  ];
  const cells = all.map(([value, label]) => `<div class="figure"><b>${value}</b><span>${label}</span></div>`);
  return `<div class="figures">${cells.join('')}</div>`;
}

function keys(names: readonly (keyof typeof LABELS)[]): string {
  return `<ul class="keys">${names.map((name) => `<li class="k-${name}">${LABELS[name]}</li>`).join('')}</ul>`;
}

function bytesByClass({ classes, unreadBytes, pack }: TraceSummary): string {
  const rows = [
    { name: 'fetch' as const, ...classes.fetch },
    { name: 'startup' as const, ...classes.startup },
    { name: 'local' as const, ...classes.local },
    { name: 'unread' as const, bytes: unreadBytes, touches: undefined, waitedMs: undefined },
    ...(pack
      ? [{ name: 'packUnread' as const, bytes: pack.unreadBytes, touches: undefined, waitedMs: undefined }]
      : []),
  ];
  const bar = rows
    .filter(({ bytes }) => bytes > 0)
    .map(({ name, bytes }) => `<i class="k-${name}" style="flex:${bytes} 0 0"></i>`);
  const cells = rows.map(
    ({ name, bytes, touches, waitedMs }) =>
      `<tr><td class="f k-${name}"><span class="dot"></span>${LABELS[name]}</td><td class="n">${bytesText(bytes)}</td>` +
      `<td class="n">${touches ?? ''}</td><td class="n">${waitedMs === undefined ? '' : timeText(waitedMs)}</td></tr>`,
  );
  return `<section><h2>Bytes by class</h2><div class="bar">${bar.join('')}</div>
<table><tr><th></th><th class="n">bytes</th><th class="n">requests</th><th class="n">waited</th></tr>${cells.join('')}</table></section>`;
}

/** Times are counted from the first request on, at `start`, as in the drawings. */
function longestWaits(longest: readonly PlacedTouch[], start: number): string {
  if (longest.length === 0)
    return '<section><h2>The longest waits</h2><p class="dim">Nobody had to wait.</p></section>';
  const rows = longest.map(
    ({ waitedMs, atMs, length, from, file }) =>
      `<tr><td class="n">${timeText(waitedMs)}</td><td class="n">${timeText(atMs - start)}</td><td class="n">${bytesText(length)}</td>` +
      `<td class="f k-${from}"><span class="dot"></span><code>${escapeText(file?.path.toString() ?? '')}</code></td></tr>`,
  );
  return `<section><h2>The longest waits</h2>${keys(['fetch', 'startup'])}
<table><tr><th class="n">waited</th><th class="n">at</th><th class="n">bytes</th><th>file</th></tr>${rows.join('')}</table></section>`;
}

function neverRead({ unread, pack }: TraceSummary): string {
  const tables = [
    unreadTable(unread, 'It came in the chunks that readers waited for.'),
    pack && unreadTable(pack.unread, `It came in the start-up pack, which has ${bytesText(pack.bytes)}.`),
  ].filter(Boolean);
  return tables.length === 0
    ? ''
    : `<section><h2>Fetched and never read</h2>\n${tables.join('\n')}</section>`;
}

function unreadTable(unread: Unread['unread'], why: string): string {
  if (unread.length === 0) return '';
  const rows = unread
    .slice(0, MAX_UNREAD)
    .map(
      ({ path, bytes }) =>
        `<tr><td class="n">${bytesText(bytes)}</td><td class="f"><code>${escapeText(path.toString())}</code></td></tr>`,
    );
  return `<p class="dim">${why}</p><table>${rows.join('')}</table>
${more(unread.length - MAX_UNREAD, 'files')}`;
}

function more(count: number, what: string): string {
  return count > 0 ? `<p class="dim">and ${count} more ${what}</p>` : '';
}
