import { expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { embeddedData } from '../../src/image/embedded-data.js';

const content = Buffer.from('{"architecture":"amd64"}');
const descriptor = {
  mediaType: 'application/json',
  digest: ociDigest(content),
  size: content.length,
  data: content.toString('base64'),
};

it('gives the content that a descriptor brings along', () => {
  expect(embeddedData(descriptor)).toEqual(content);
  const nothing = Buffer.alloc(0);
  expect(embeddedData({ ...descriptor, digest: ociDigest(nothing), size: 0, data: '' })).toEqual(nothing);
});

it.each([
  ['none', { data: undefined }],
  ['other bytes', { data: Buffer.from('{"architecture":"arm64"}').toString('base64') }],
  ['fewer bytes', { data: content.subarray(1).toString('base64') }],
  ['more bytes', { data: Buffer.concat([content, content]).toString('base64') }],
  ['another size', { size: content.length + 1 }],
  ['no base64', { data: '%%%' }],
])('gives nothing with %s', (_, change) => {
  expect(embeddedData({ ...descriptor, ...change })).toBeUndefined();
});
