import { describe, expect, it } from 'vitest';
import { parsePaxNumber, parsePaxTime, parseTarNumber } from '../../../src/image/archive/tar-numbers.js';
import { encodeNumber } from '../../convert/tar-writer.js';

const number = (field: Buffer | string) =>
  parseTarNumber(typeof field === 'string' ? Buffer.from(field, 'latin1') : field, 'entry: size');

describe('numbers of header blocks', () => {
  it('reads octal however it is padded', () => {
    expect(number('0000644\0')).toBe(0o644);
    expect(number('   644 \0')).toBe(0o644);
    expect(number('644\0\0\0\0\0')).toBe(0o644);
    expect(number('00000644')).toBe(0o644);
    expect(number('\0\0\0\0\0\0\0\0')).toBe(0);
    expect(number('        ')).toBe(0);
    expect(number('644\0junk')).toBe(0o644);
  });

  it.each([0, 1, -1, -86400, -315619200, 2 ** 33, 2 ** 40 + 7, -(2 ** 40), Number.MAX_SAFE_INTEGER])(
    'reads base-256 %d',
    (value) => {
      expect(number(encodeNumber(value, 12))).toBe(value);
    },
  );

  it('refuses what is no number', () => {
    expect(() => number('12x\0')).toThrow('entry: size: "12x\\u0000" is not an octal number');
    expect(() => number('0000888\0')).toThrow('is not an octal number');
    expect(() => number(Buffer.from('800000ffffffffffffffffff', 'hex'))).toThrow('too large');
    expect(() => number(Buffer.from('bf0000000000000000000000', 'hex'))).toThrow('too large');
  });
});

describe('numbers of PAX records', () => {
  it('reads whole numbers and refuses the rest', () => {
    expect(parsePaxNumber(Buffer.from('3000000000'), 'x')).toBe(3000000000);
    for (const wrong of ['', '-1', '1.5', '0x10', '1e3', ' 1', '99999999999999999999']) {
      expect(() => parsePaxNumber(Buffer.from(wrong), 'entry: uid')).toThrow('entry: uid');
    }
  });

  it.each([
    ['1700000000', 1700000000, 0],
    ['1700000000.123456789', 1700000000, 123456789],
    ['1700000000.5', 1700000000, 500000000],
    ['0.0000000019', 0, 1],
    ['-86400.25', -86401, 750000000],
    ['-86400', -86400, 0],
    ['-0.000000001', -1, 999999999],
    ['-0', 0, 0],
    ['5.', 5, 0],
  ])('reads the time %s', (text, sec, nsec) => {
    expect(parsePaxTime(Buffer.from(text), 'x')).toEqual({ sec, nsec });
  });

  it('refuses what is no time', () => {
    for (const wrong of ['', '.5', '1.2.3', '--1', 'now', '1e9', '9999999999999999']) {
      expect(() => parsePaxTime(Buffer.from(wrong), 'entry: mtime')).toThrow('entry: mtime');
    }
  });
});
