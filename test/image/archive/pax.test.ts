import { describe, expect, it } from 'vitest';
import { lastValues, mergeGlobalRecords, parsePaxRecords, xattrsOf } from '../../../src/image/archive/pax.js';
import { paxRecord } from '../../convert/tar-writer.js';

describe('PAX records', () => {
  it('keeps binary values and repeated keys in order', () => {
    const binary = Buffer.from([0x62, 0x0a, 0x3d, 0x00, 0x72, 0xff]);
    const records = parsePaxRecords(
      Buffer.concat([paxRecord('a', binary), paxRecord('n', '1'), paxRecord('n', '2'), paxRecord('e', '')]),
      'x',
    );
    expect(records.map(([key]) => key)).toEqual(['a', 'n', 'n', 'e']);
    expect(records[0]![1]).toEqual(binary);
    expect(records[3]![1]).toHaveLength(0);
  });

  it('takes a key that has no ASCII', () => {
    const key = Buffer.from('SCHILY.xattr.user.ä').toString('latin1');
    const [xattr] = xattrsOf(lastValues(parsePaxRecords(paxRecord(key, 'v'), 'x')));
    expect(xattr!.name.toString()).toBe('user.ä');
  });

  it.each([
    ['a length that is none', 'x a=b\n'],
    ['no length', ' a=b\n'],
    ['a length beyond the end', '99 a=b\n'],
    ['a length that ends inside', '5 a=b\n'],
    ['a length of zero', '0 a=b\n'],
    ['no equals sign', '5 ab\n'],
    ['no newline', '6 a=bc'],
    ['padding behind the records', '6 a=b\n\0\0'],
    ['a length with many digits', '0000000000006 a=b\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parsePaxRecords(Buffer.from(text), 'layer')).toThrow(
      /layer: no valid PAX record at byte \d/,
    );
  });

  it('an empty value takes back an earlier one, but an xattr may be empty', () => {
    const values = lastValues([
      ['uid', Buffer.from('1')],
      ['uid', Buffer.alloc(0)],
      ['SCHILY.xattr.user.empty', Buffer.alloc(0)],
    ]);
    expect(values.has('uid')).toBe(false);
    expect(xattrsOf(values)).toEqual([{ name: Buffer.from('user.empty'), value: Buffer.alloc(0) }]);
  });

  it('keeps of global headers what may apply to every entry, the last word counting', () => {
    const first = mergeGlobalRecords(
      [],
      [
        ['mtime', Buffer.from('5')],
        ['path', Buffer.from('all-the-same')],
        ['size', Buffer.from('9')],
        ['comment', Buffer.from('hello')],
      ],
    );
    expect(first).toEqual([['mtime', Buffer.from('5')]]);
    const second = mergeGlobalRecords(first, [
      ['mtime', Buffer.from('6')],
      ['uid', Buffer.from('7')],
    ]);
    expect(second.map(([key, value]) => `${key}=${value}`)).toEqual(['mtime=6', 'uid=7']);
    expect(mergeGlobalRecords(second, [['mtime', Buffer.alloc(0)]]).map(([key]) => key)).toEqual(['uid']);
  });
});
