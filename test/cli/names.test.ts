import { expect, it } from 'vitest';
import { formatMode, formatTime } from '../../src/cli/inode-format.js';
import { escapeName, jsonName, showName } from '../../src/cli/names.js';

it.each([
  ['plain näme', 'plain näme'],
  ['a\nb\tc\rd', 'a\\nb\\tc\\rd'],
  ['\x1b[31mred\x07', '\\x1b[31mred\\x07'],
  ['back\\slash', 'back\\\\slash'],
  ['\u202egpj.exe', '\\xe2\\x80\\xaegpj.exe'],
  ['c1 \u009b', 'c1 \\xc2\\x9b'],
])('escapes what could steer a terminal in %j', (name, shown) => {
  expect(escapeName(Buffer.from(name))).toBe(shown);
});

it('shows bytes that are not UTF-8 as such, and leaves names alone where nobody looks at them', () => {
  const name = Buffer.from([0x61, 0xff, 0x0a]);
  expect(escapeName(name)).toBe('a\\xff\\n');
  expect(showName(name, true).toString()).toBe('a\\xff\\n');
  expect(showName(name, false)).toBe(name);
  expect(jsonName('path', name)).toEqual({ path64: name.toString('base64') });
  expect(jsonName('path', Buffer.from('a\n'))).toEqual({ path: 'a\n' });
});

it.each([
  [0o100644, '-rw-r--r--'],
  [0o104755, '-rwsr-xr-x'],
  [0o106644, '-rwSr-Sr--'],
  [0o041777, 'drwxrwxrwt'],
  [0o041776, 'drwxrwxrwT'],
  [0o120777, 'lrwxrwxrwx'],
  [0o020600, 'crw-------'],
  [0o060600, 'brw-------'],
  [0o010600, 'prw-------'],
  [0o140600, 'srw-------'],
])('shows mode %o as %s', (mode, text) => {
  expect(formatMode(mode)).toBe(text);
});

it('shows times before 1970 and those that no calendar has', () => {
  expect(formatTime({ mtimeSec: 0, mtimeNsec: 5 })).toBe('1970-01-01T00:00:00Z');
  expect(formatTime({ mtimeSec: -1, mtimeNsec: 5 }, { nanoseconds: true })).toBe(
    '1969-12-31T23:59:59.000000005Z',
  );
  expect(formatTime({ mtimeSec: 2 ** 52, mtimeNsec: 0 })).toBe(`@${2 ** 52}`);
});
