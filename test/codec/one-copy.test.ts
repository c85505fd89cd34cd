import { describe, expect, it } from 'vitest';
import { oneCopy } from '../../src/codec/one-copy.js';

describe('one copy of equal bytes', () => {
  it('gives what came first under the name', () => {
    const first = Buffer.from('chunks of a base layer');
    expect(oneCopy('a', first)).toBe(first);
    expect(oneCopy('a', Buffer.from(first))).toBe(first);
    expect(oneCopy('a', first)).toBe(first);
  });

  it('never gives other bytes, whoever used the name before', () => {
    const first = Buffer.from('what one image says');
    const other = Buffer.from('what a liar says');
    const longer = Buffer.concat([first, Buffer.from([0])]);
    expect(oneCopy('b', first)).toBe(first);
    expect(oneCopy('b', other)).toBe(other);
    expect(oneCopy('b', longer)).toBe(longer);
    expect(oneCopy('b', Buffer.from(longer))).toBe(longer);
    expect(oneCopy('c', Buffer.from('what one image says'))).not.toBe(first);
  });
});
