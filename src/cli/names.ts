/** A name of an image for people: on a terminal without what could steer it; elsewhere the very bytes. */
export function showName(name: Buffer, terminal: boolean): Buffer {
  return terminal ? Buffer.from(escapeName(name)) : name;
}

/** Printable text for a name: control characters, backslashes and bytes that are not UTF-8 as `\n`, `\\` or `\x1b`. */
export function escapeName(name: Buffer): string {
  const text = name.toString('utf8');
  if (text.includes('\ufffd')) return [...name].map(escapeByte).join('');
  // Cc are control characters, Cf also those that turn the direction of writing, Zl and Zp break lines.
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/gu, (char) =>
    [...Buffer.from(char)].map(escapeByte).join(''),
  );
}

/** A name as a member of a JSON object: as text under `key`, or in base64 under `key64` if it is not UTF-8. */
export function jsonName(key: string, name: Buffer): Record<string, string> {
  const text = name.toString('utf8');
  return Buffer.from(text).equals(name) ? { [key]: text } : { [`${key}64`]: name.toString('base64') };
}

function escapeByte(byte: number): string {
  if (byte === 0x0a) return '\\n';
  if (byte === 0x09) return '\\t';
  if (byte === 0x0d) return '\\r';
  if (byte === 0x5c) return '\\\\';
  if (byte >= 0x20 && byte < 0x7f) return String.fromCharCode(byte);
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
