import { expect, it, vi } from 'vitest';
import { RafterError } from '../../src/errors.js';
import type { ImageSource } from '../../src/image/source.js';
import { blobBytesOf } from '../../src/mount/blob-bytes.js';
import { createMeters } from '../../src/mount/meters.js';
import { noStats } from '../../src/mount/traffic.js';

const descriptor = { mediaType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, size: 10 };
const gone = () => new RafterError('UNAVAILABLE', 'nobody answers', { temporary: true });

/** A source that fails with `failures` first. */
function setUp(failures: Error[], readTimeout?: number) {
  const stats = noStats();
  const read = vi.fn(async () => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return Buffer.alloc(10);
  });
  const source = { name: 'test', place: { registry: 'r', repository: 'a' }, readBlobRange: read };
  const options = { stats, meters: createMeters(), readTimeout };
  return { bytes: blobBytesOf(source as unknown as ImageSource, descriptor, options), read, stats };
}

it('names the host, whose limits it shares with all images there', () => {
  expect(setUp([]).bytes.host).toBe('r');
});

it('asks again after temporary failures, as long as readers wait', async () => {
  const { bytes, stats } = setUp([gone(), gone()]);
  expect(await bytes.read(0, 10)).toHaveLength(10);
  expect(stats).toMatchObject({ requests: 3, fetchedBytes: 10 });
});

it('says at once what is not temporary', async () => {
  const { bytes, read } = setUp([new RafterError('DENIED', 'not for you')]);
  await expect(bytes.read(0, 10)).rejects.toMatchObject({ code: 'DENIED' });
  expect(read).toHaveBeenCalledTimes(1);
});

it('says what the source said last before the time of its readers is over', async () => {
  const { bytes, read } = setUp(Array.from({ length: 9 }, gone), 0.5);
  await expect(bytes.read(0, 10)).rejects.toThrow('nobody answers');
  expect(read).toHaveBeenCalledTimes(1);
});

it('stops when nobody waits any more', async () => {
  const { bytes, read } = setUp(Array.from({ length: 9 }, gone));
  const abort = new AbortController();
  const reading = bytes.read(0, 10, abort.signal);
  await vi.waitFor(() => expect(read).toHaveBeenCalled());
  abort.abort();
  await expect(reading).rejects.toThrow('nobody answers');
  expect(read).toHaveBeenCalledTimes(1);
});
