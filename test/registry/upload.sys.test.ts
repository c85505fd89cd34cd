import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { RegistryTarget } from '../../src/registry/target.js';
import {
  answerError,
  type FakeRegistry,
  failWith,
  hangUp,
  quickly,
  startFakeRegistry,
} from '../support/fake-registry.js';

const always = Number.POSITIVE_INFINITY;
const content = randomBytes(9_000_000);
const digest = ociDigest(content);

let registry: FakeRegistry;
let directory: string;
let targets: RegistryTarget[];
beforeEach(async () => {
  registry = await startFakeRegistry();
  directory = mkdtempSync(join(tmpdir(), 'rafter-spool-'));
  targets = [];
});
afterEach(async () => {
  for (const target of targets) await target.abort();
  await registry.stop();
  // Nothing has a name there, whatever happened.
  expect(readdirSync(directory)).toEqual([]);
  rmSync(directory, { recursive: true, force: true });
});

function targetOf(rest?: string): RegistryTarget {
  const target = new RegistryTarget(registry.reference(rest), {
    dockerConfig: '/nonexistent',
    retry: quickly,
    tempDir: directory,
  });
  targets.push(target);
  return target;
}

const methods = () => registry.requests.map(({ method }) => method);
/** The ranges of all that came by PATCH with a length. */
const pieces = () =>
  registry.requests.flatMap(({ method, headers }) =>
    method === 'PATCH' && headers['content-range'] !== undefined ? [headers['content-range']] : [],
  );
const stored = () => registry.blobs.get(digest)?.equals(content);

async function push(target: RegistryTarget, bytes = content): Promise<void> {
  const writer = await target.createBlob(undefined, { digestGiven: true });
  for (let at = 0; at < bytes.length; at += 1 << 20) await writer.write(bytes.subarray(at, at + (1 << 20)));
  await writer.commit(ociDigest(bytes));
}

describe('a blob that is sent while it is made', () => {
  it('arrives before it is whole, by one PATCH without a length and a PUT', async () => {
    const writer = await targetOf().createBlob();
    const half = 5_000_000;
    await writer.write(content.subarray(0, half));
    await vi.waitFor(() => expect([...registry.uploads.open.values()][0]?.size).toBe(half), 20_000);
    await writer.write(content.subarray(half));
    expect(await writer.commit(digest)).toEqual({ digest, size: content.length });
    expect(stored()).toBe(true);
    expect(methods()).toEqual(['POST', 'PATCH', 'PUT']);
    expect(registry.requests[1]!.headers['transfer-encoding']).toBe('chunked');
  });

  it.each([
    ['goes on where the registry says', false, ['POST', 'GET', 'PATCH', 'PUT']],
    [
      'begins again where the registry has forgotten the upload',
      true,
      ['POST', 'GET', 'POST', 'PATCH', 'PUT'],
    ],
  ])('%s, after the connection was cut', async (_, forgetsCut, expected) => {
    registry.uploads.traits.forgetsCut = forgetsCut;
    const writer = await targetOf().createBlob();
    await writer.write(content.subarray(0, 5_000_000));
    await vi.waitFor(() => expect([...registry.uploads.open.values()][0]?.size).toBe(5_000_000), 20_000);
    registry.cut();
    await writer.write(content.subarray(5_000_000));
    await writer.commit(digest);
    expect(stored()).toBe(true);
    expect(methods()).toEqual(expected);
  });

  it.each([
    ['refuses PATCH', { patch: 'refuse' }],
    ['answers 201 to PATCH', { patchStatus: 201 }],
    ['has relative places', { relative: true }],
    ['forgets what it was sent by PATCH', { patch: 'lose-later' }],
  ] as const)('is stored where the registry %s', async (_, traits) => {
    Object.assign(registry.uploads.traits, traits);
    await push(targetOf());
    expect(stored()).toBe(true);
  });

  it.each([
    ['the PATCH fails', /PATCH/, failWith(503), 1],
    ['the PATCH is too much at first', /PATCH/, failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '0' }), 1],
    ['every PATCH fails', /PATCH/, failWith(500), always],
    ['the server hangs up on every PATCH', /PATCH/, hangUp, always],
    ['the upload cannot be ended', /PUT .*uploads/, failWith(400, 'BLOB_UPLOAD_INVALID'), 1],
    ['what was sent is not what was stored', /PUT .*uploads/, failWith(400, 'DIGEST_INVALID'), 1],
    ['the answer to the end is lost', /PUT .*uploads/, hangUp, 1],
  ] as const)('is stored when %s', async (_, match, handler, times) => {
    registry.intercept(match, handler, times);
    await push(targetOf());
    expect(stored()).toBe(true);
  });

  it('is refused early, without its end being waited for', async () => {
    registry.intercept(/POST/, failWith(403, 'DENIED'), always);
    const writer = await targetOf().createBlob();
    await writer.write(content.subarray(0, 5_000_000));
    await expect(
      vi.waitUntil(
        () =>
          writer.write(content.subarray(0, 1)).then(
            () => undefined,
            (error: unknown) => error,
          ),
        20_000,
      ),
    ).resolves.toMatchObject({ code: 'DENIED', status: 403 });
    await writer.abort();
  });

  it('is given up at the registry, too, when it is aborted', async () => {
    const writer = await targetOf().createBlob();
    await writer.write(content.subarray(0, 5_000_000));
    await vi.waitFor(() => expect(registry.uploads.open.size).toBe(1), 20_000);
    await writer.abort();
    expect(registry.uploads.open.size).toBe(0);
    expect(registry.blobs.size).toBe(0);
  });

  it('is not stored when its digest is another than expected', async () => {
    const writer = await targetOf().createBlob();
    await writer.write(content);
    await expect(writer.commit(ociDigest(Buffer.from('x')))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    await writer.abort();
    expect(registry.blobs.size).toBe(0);
  });
});

describe('a registry that limits requests', () => {
  it('gets the blob in pieces', async () => {
    registry.uploads.traits.largestBody = 17 << 20;
    const large = randomBytes(18 << 20);
    await push(targetOf(), large);
    expect(registry.blobs.get(ociDigest(large))?.equals(large)).toBe(true);
    expect(pieces()).toEqual(['0-16777215', '16777216-18874367']);
  });

  it('gets pieces of the least size that it asks for', async () => {
    Object.assign(registry.uploads.traits, { largestBody: 19 << 20, minPiece: 18 << 20 });
    const large = randomBytes(20 << 20);
    await push(targetOf(), large);
    expect(registry.blobs.get(ociDigest(large))?.equals(large)).toBe(true);
    expect(pieces()).toEqual(['0-18874367', '18874368-20971519']);
  });

  it('is asked where to go on when it refuses a piece as out of order', async () => {
    registry.uploads.traits.largestBody = 17 << 20;
    const large = randomBytes(18 << 20);
    registry.intercept(
      /PATCH/,
      (request, response, next) => {
        // The answer to a piece that has arrived is lost.
        if (request.headers['content-range']?.startsWith('16777216-'))
          answerError(response, 416, 'RANGE_INVALID');
        else next();
      },
      3,
    );
    await push(targetOf(), large);
    expect(registry.blobs.get(ociDigest(large))?.equals(large)).toBe(true);
  });

  it('that takes the blob in no way is named with its first answer', async () => {
    Object.assign(registry.uploads.traits, { largestBody: 1000 });
    await expect(push(targetOf())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED', status: 413 });
  });
});
