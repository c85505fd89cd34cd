import { describe, expect, it } from 'vitest';
import {
  formatProfile,
  MAX_PROFILE_BLOBS,
  MAX_PROFILE_RANGES,
  MAX_PROFILE_SIZE,
  parseProfile,
} from '../../src/startup/profile.js';

const some = {
  blobs: ['ab12', 'f'.repeat(64)],
  chunks: [
    { blob: 1, first: 7, count: 2 },
    { blob: 0, first: 0, count: 1 },
  ],
};
const valid = { rafterStartupProfile: 1, blobs: ['ab12'], chunks: [[0, 3, 1]] };
const parse = (value: unknown) => parseProfile(Buffer.from(JSON.stringify(value)), 'it');

it('is read as it was written', () => {
  expect(parseProfile(formatProfile(some), 'it')).toEqual(some);
  expect(parse({ ...valid, later: 'something' })).toEqual({
    blobs: ['ab12'],
    chunks: [{ blob: 0, first: 3, count: 1 }],
  });
});

describe('one that is wrong is refused, naming what', () => {
  it.each([
    ['no object', [1], 'not a JSON object'],
    ['no profile', {}, 'rafterStartupProfile'],
    ['a blob id with a path', { ...valid, blobs: ['../x'] }, 'blobs.0'],
    ['a negative chunk', { ...valid, chunks: [[0, -1, 1]] }, 'chunks.0.1'],
    ['no chunk', { ...valid, chunks: [[0, 0, 0]] }, 'chunks.0.2'],
    ['half a chunk', { ...valid, chunks: [[0, 0.5, 1]] }, 'chunks.0.1'],
    ['a number beyond the safe ones', { ...valid, chunks: [[0, 2 ** 53, 1]] }, 'chunks.0.1'],
    ['a range of four numbers', { ...valid, chunks: [[0, 0, 1, 1]] }, 'chunks.0'],
    ['a blob that is not listed', { ...valid, chunks: [[1, 0, 1]] }, 'chunks.0: blob 1 of 1'],
  ])('%s', (_, value, message) => {
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
    expect(() => parse(value)).toThrow(message);
  });

  it('another version', () => {
    expect(() => parse({ ...valid, rafterStartupProfile: 2 })).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('version 2') }),
    );
  });
});

describe('limits', () => {
  const blobs = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);
  const chunks = (count: number) => Array.from({ length: count }, () => ({ blob: 0, first: 0, count: 1 }));

  it('of blobs', () => {
    const most = { blobs: blobs(MAX_PROFILE_BLOBS), chunks: [] };
    expect(parseProfile(formatProfile(most), 'it')).toEqual(most);
    const more = blobs(MAX_PROFILE_BLOBS + 1);
    expect(() => formatProfile({ blobs: more, chunks: [] })).toThrow('blobs');
    expect(() => parse({ ...valid, blobs: more, chunks: [] })).toThrow(/blobs/);
  });

  it('of ranges', () => {
    const most = { blobs: ['a'], chunks: chunks(MAX_PROFILE_RANGES) };
    expect(parseProfile(formatProfile(most), 'it').chunks).toHaveLength(MAX_PROFILE_RANGES);
    const more = chunks(MAX_PROFILE_RANGES + 1);
    expect(() => formatProfile({ blobs: ['a'], chunks: more })).toThrow('ranges');
    expect(() => parse({ ...valid, chunks: more.map(() => [0, 0, 1]) })).toThrow(/chunks/);
  });

  it('of bytes', () => {
    const text = JSON.stringify(valid);
    expect(parseProfile(Buffer.from(text.padEnd(MAX_PROFILE_SIZE)), 'it').blobs).toEqual(['ab12']);
    expect(() => parseProfile(Buffer.from(text.padEnd(MAX_PROFILE_SIZE + 1)), 'it')).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
    const wide = { blob: 0, first: Number.MAX_SAFE_INTEGER - 1, count: 1 };
    expect(() => formatProfile({ blobs: ['a'], chunks: Array(MAX_PROFILE_RANGES).fill(wide) })).toThrow(
      'bytes',
    );
  });
});
