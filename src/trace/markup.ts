const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Any text as the content of an element or of an attribute in double quotes. Characters that control, or turn the direction of
 * writing, are shown by their numbers.
 */
export function escapeText(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
    .replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** Bytes in powers of 1000: `999 B`, `12.3 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), 4);
  const value = bytes / 1000 ** power;
  return `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${['', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

/** A time in milliseconds: `0.4 ms`, `12 ms`, `2.31 s`. */
export function timeText(ms: number): string {
  if (ms >= 999.5) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms >= 9.95 || ms === 0 ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}

/** A number for a coordinate, as short as a tenth of a unit allows. */
export function coordinate(value: number): string {
  return String(Math.round(value * 10) / 10);
}
