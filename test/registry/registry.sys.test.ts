import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import {
  answerError,
  cutAfter,
  type FakeRegistry,
  failWith,
  type Handler,
  hangUp,
  quickly,
  startFakeRegistry,
} from '../support/fake-registry.js';

const always = Number.POSITIVE_INFINITY;
const content = randomBytes(3_000_000);
const descriptor = { mediaType: 'a/b', digest: `sha256:${'1'.repeat(64)}`, size: 5 };
const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config: descriptor, layers: [] }));

let registry: FakeRegistry;
let second: FakeRegistry;
let directory: string;
let open: { close?(): Promise<void>; abort?(): Promise<void> }[];
beforeEach(async () => {
  [registry, second] = await Promise.all([startFakeRegistry(), startFakeRegistry()]);
  directory = mkdtempSync(join(tmpdir(), 'rafter-spool-'));
  open = [];
});
afterEach(async () => {
  for (const one of open) await (one.close?.() ?? one.abort?.());
  await Promise.all([registry.stop(), second.stop()]);
  rmSync(directory, { recursive: true, force: true });
});

const options: RegistryOptions = {
  dockerConfig: '/nonexistent',
  retry: quickly,
  timeouts: { answerMs: 20_000, idleMs: 20_000 },
};
function sourceOf(rest?: string, more: RegistryOptions = {}): RegistrySource {
  const source = new RegistrySource(registry.reference(rest), { ...options, ...more });
  open.push(source);
  return source;
}
function targetOf(rest?: string): RegistryTarget {
  const target = new RegistryTarget(registry.reference(rest), { ...options, tempDir: directory });
  open.push(target);
  return target;
}

async function drain(stream: Readable | Promise<Readable>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of await stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function push(target: RegistryTarget, bytes: Buffer) {
  const writer = await target.createBlob();
  for (let at = 0; at < bytes.length; at += 700_000) await writer.write(bytes.subarray(at, at + 700_000));
  return writer.commit(ociDigest(bytes));
}

/** Everything at once, ranges ignored. */
const ignoreRange: Handler = (request, response) => {
  const digest = /sha256:[0-9a-f]{64}/.exec(request.url)![0];
  const blob = registry.blobs.get(digest)!;
  response.writeHead(200, { 'content-length': blob.length }).end(blob);
};

describe('reading a blob', () => {
  it('resumes where the connection was cut, as often as there is progress', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET .*blobs/, cutAfter(registry, 300_000), 4);
    expect((await drain(sourceOf().openBlob(blob))).equals(content)).toBe(true);
    const ranges = registry.requests.map(({ headers }) => headers.range);
    expect(ranges).toHaveLength(5);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.slice(1).every((range) => /^bytes=\d+-2999999$/.test(range!))).toBe(true);
    expect(ranges.at(-1)).not.toBe(ranges[1]);
  });

  it('resumes at a server that ignores ranges', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET .*blobs/, ignoreRange, always);
    registry.intercept(/GET .*blobs/, cutAfter(registry, 1_000_000), 1);
    expect((await drain(sourceOf().openBlob(blob))).equals(content)).toBe(true);
    expect(registry.requests).toHaveLength(2);
  });

  it('resumes after a body that stops moving', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET .*blobs/, (_, response) => {
      response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 100_000));
    });
    expect(
      (await drain(sourceOf(undefined, { timeouts: { idleMs: 300 } }).openBlob(blob))).equals(content),
    ).toBe(true);
  });

  it('gives up when every answer is cut without progress', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET .*blobs/, cutAfter(registry, 10), always);
    await expect(drain(sourceOf().openBlob(blob))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(registry.requests.length).toBeLessThan(10);
  });

  it.each([
    [
      'one wrong byte',
      (b: Buffer) => Buffer.concat([b.subarray(0, 9), Buffer.from([b[9]! ^ 1]), b.subarray(10)]),
      'DIGEST_MISMATCH',
    ],
    ['a byte too many', (b: Buffer) => Buffer.concat([b, Buffer.from('x')]), 'DIGEST_MISMATCH'],
    ['a byte too few', (b: Buffer) => b.subarray(0, -1), 'TRUNCATED'],
    ['nothing', () => Buffer.alloc(0), 'TRUNCATED'],
    ['an HTML page', () => Buffer.from('<html>log in</html>'), 'TRUNCATED'],
  ])('never ends cleanly with %s', async (_, change, code) => {
    const blob = registry.addBlob(content);
    registry.blobs.set(blob.digest, change(content));
    await expect(drain(sourceOf().openBlob(blob))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(blob.digest),
    });
  });

  it('follows a redirect to another origin without Authorization', async () => {
    const blob = second.addBlob(content);
    registry.intercept(
      /GET .*blobs/,
      (request, response) => {
        if (request.headers.authorization === undefined) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        } else {
          response.writeHead(307, { location: `http://${second.host}${request.url}?X-Sig=s3cret` }).end();
        }
      },
      always,
    );
    const source = new RegistrySource(registry.reference(), {
      ...options,
      credentials: { username: 'a', password: 'b' },
    });
    open.push(source);
    expect((await drain(source.openBlob(blob))).equals(content)).toBe(true);
    expect(await source.readBlobRange(blob, 5, 10)).toEqual(content.subarray(5, 15));
    expect(registry.requests.some(({ headers }) => headers.authorization?.startsWith('Basic '))).toBe(true);
    expect(second.requests).toHaveLength(2);
    expect(second.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);

    second.intercept(/GET/, failWith(401), always);
    const error = await drain(source.openBlob(blob)).catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'DENIED' });
    expect(String(error)).not.toContain('s3cret');
  });

  it('says NOT_FOUND before any byte is asked for', async () => {
    await expect(sourceOf().openBlob(descriptor)).rejects.toMatchObject({ code: 'NOT_FOUND', status: 404 });
  });

  it('ends at once when it is interrupted', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET .*blobs/, (_, response) => {
      response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 100_000));
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const start = performance.now();
    await expect(drain(sourceOf().openBlob(blob, controller.signal))).rejects.toMatchObject({
      code: 'INTERRUPTED',
    });
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe('reading a range', () => {
  it.each([
    ['the server does as it should', undefined, 1],
    ['the server ignores ranges', ignoreRange, 1],
    ['the connection is cut', 'cut', 2],
    ['the server is busy', failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '0' }), 2],
    ['the server fails', failWith(503), 2],
    ['the server hangs up', hangUp, 2],
  ] as const)('gives exactly its bytes when %s', async (_, handler, requests) => {
    const blob = registry.addBlob(content);
    if (handler === 'cut') registry.intercept(/GET/, cutAfter(registry, 1000));
    else if (handler !== undefined) registry.intercept(/GET/, handler);
    const bytes = await sourceOf().readBlobRange(blob, 1_234_567, 77_777);
    expect(bytes.equals(content.subarray(1_234_567, 1_234_567 + 77_777))).toBe(true);
    expect(registry.requests).toHaveLength(requests);
  });

  it('asks again for what a short answer left out', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET/, (_, response) => {
      response.writeHead(206, { 'content-range': `bytes 100-149/${content.length}`, 'content-length': 50 });
      response.end(content.subarray(100, 150));
    });
    expect(await sourceOf().readBlobRange(blob, 100, 200)).toEqual(content.subarray(100, 300));
    expect(registry.requests.at(-1)!.headers.range).toBe('bytes=150-299');
  });

  it.each([
    ['other bytes than asked for', 'bytes 0-199/3000000'],
    ['more bytes than asked for', 'bytes 100-300/3000000'],
    ['no range', undefined],
    ['several ranges', 'multipart'],
    ['nonsense', 'bytes 100-x/3000000'],
  ])('is MALFORMED when the answer names %s', async (_, header) => {
    const blob = registry.addBlob(content);
    registry.intercept(/GET/, (_request, response) => {
      response.writeHead(206, header === undefined ? {} : { 'content-range': header });
      response.end(content.subarray(0, 200));
    });
    await expect(sourceOf().readBlobRange(blob, 100, 200)).rejects.toMatchObject({
      code: 'MALFORMED',
      message: expect.stringContaining('bytes 100-299'),
    });
  });

  it('is TRUNCATED behind the end, by the descriptor and by the server', async () => {
    const blob = registry.addBlob(content);
    await expect(sourceOf().readBlobRange(blob, blob.size - 1, 2)).rejects.toMatchObject({
      code: 'TRUNCATED',
    });
    expect(registry.requests).toEqual([]);
    const longer = { ...blob, size: blob.size + 100 };
    await expect(sourceOf().readBlobRange(longer, blob.size, 50)).rejects.toMatchObject({
      code: 'TRUNCATED',
      status: 416,
    });
    expect(await sourceOf().readBlobRange(blob, 5, 0)).toHaveLength(0);
  });

  it('does not take a drip of tiny answers', async () => {
    const blob = registry.addBlob(content);
    registry.intercept(
      /GET/,
      (request, response) => {
        const start = Number(/=(\d+)/.exec(request.headers.range!)![1]);
        response.writeHead(206, { 'content-range': `bytes ${start}-${start}/${content.length}` }).end('x');
      },
      always,
    );
    await expect(sourceOf().readBlobRange(blob, 0, 1000)).rejects.toMatchObject({ code: 'MALFORMED' });
  });
});

describe('manifests', () => {
  it('are resolved with one request, and read without another', async () => {
    registry.manifests.set('1', { mediaType: OCI_MANIFEST, bytes: manifest });
    const source = sourceOf();
    const resolved = await source.resolve();
    expect(resolved).toEqual({ mediaType: OCI_MANIFEST, digest: ociDigest(manifest), size: manifest.length });
    expect(await source.readManifest(resolved)).toEqual(manifest);
    expect(registry.requests).toHaveLength(1);
    const { headers } = registry.requests[0]!;
    expect(headers.accept!.split(', ')).toHaveLength(4);
    expect(headers['accept-encoding']).toBe('identity');
  });

  it('are checked against the digest asked for and the one that the server names', async () => {
    const digest = ociDigest(Buffer.from('other'));
    registry.manifests.set(digest, { mediaType: OCI_MANIFEST, bytes: manifest });
    await expect(sourceOf(`team/app@${digest}`).resolve()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    registry.intercept(/GET/, (_, response) => {
      response.writeHead(200, { 'docker-content-digest': digest }).end(manifest);
    });
    await expect(sourceOf().resolve()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  it.each([
    ['application/json', 'no digest header'],
    ['application/octet-stream; charset=x', 'another type'],
  ])('have the type of their members when the server says %s', async (type) => {
    registry.intercept(
      /GET/,
      (_, response) => void response.writeHead(200, { 'content-type': type }).end(manifest),
    );
    expect(await sourceOf().resolve()).toMatchObject({
      mediaType: OCI_MANIFEST,
      digest: ociDigest(manifest),
    });
  });

  it('that are HTML, or too large, are refused', async () => {
    registry.intercept(
      /GET/,
      (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
    );
    await expect(sourceOf().resolve()).rejects.toMatchObject({ code: 'MALFORMED' });
    registry.intercept(/GET/, (_, response) => void response.end(Buffer.alloc((8 << 20) + 1, 0x20)));
    await expect(sourceOf().resolve()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('are refused when the descriptor names another size', async () => {
    registry.manifests.set(ociDigest(manifest), { mediaType: OCI_MANIFEST, bytes: manifest });
    const right = { mediaType: OCI_MANIFEST, digest: ociDigest(manifest), size: manifest.length };
    const source = sourceOf();
    expect(await source.readManifest(right)).toEqual(manifest);
    await expect(source.readManifest({ ...right, size: right.size + 1 })).rejects.toMatchObject({
      code: 'TRUNCATED',
    });
    await expect(source.readManifest({ ...right, size: right.size - 1 })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    await expect(source.readManifest({ ...right, size: 9 << 20 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
  });
});

describe('writing', () => {
  it('sends HEAD, POST and one PUT with the session as the server gave it', async () => {
    expect(await push(targetOf(), content)).toEqual({ digest: ociDigest(content), size: content.length });
    expect(registry.blobs.get(ociDigest(content))!.equals(content)).toBe(true);
    const [head, post, put] = registry.requests;
    expect([head!.method, post!.method, put!.method]).toEqual(['HEAD', 'POST', 'PUT']);
    expect(post!.headers['content-length']).toBe('0');
    const query = `_state=a%2Fb%3D%3D&x=+&digest=${encodeURIComponent(ociDigest(content))}`;
    expect(put!.url).toMatch(/^\/v2\/team\/app\/blobs\/uploads\/[0-9a-f-]{36}\?/);
    expect(put!.url.endsWith(`?${query}`)).toBe(true);
    expect(put!.headers['content-length']).toBe(String(content.length));
    expect(registry.requests).toHaveLength(3);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('sends no blob that is there', async () => {
    registry.addBlob(content);
    await push(targetOf(), content);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD']);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('takes the empty blob', async () => {
    await push(targetOf(), Buffer.alloc(0));
    expect(registry.blobs.get(ociDigest(Buffer.alloc(0)))).toHaveLength(0);
  });

  it.each([
    ['relative', '/v2/team/app/blobs/uploads/other'],
    ['relative to the request', 'other?a=b'],
    ['with a query of its own', '/v2/team/app/blobs/uploads/other?_state=x%3D'],
  ])('takes a Location that is %s', async (_, location) => {
    registry.intercept(/POST/, (_request, response) => void response.writeHead(202, { location }).end());
    await push(targetOf(), content);
    expect(registry.blobs.has(ociDigest(content))).toBe(true);
    expect(registry.requests.at(-1)!.url).toMatch(/\/uploads\/other\?(.*&)?digest=sha256%3A/);
  });

  it('uploads to another origin without credentials', async () => {
    registry.intercept(/HEAD|POST/, (request, response, next) => {
      if (request.headers.authorization) next();
      else response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
    });
    registry.intercept(/POST/, (_, response) => {
      response.writeHead(202, { location: `http://${second.host}/v2/x/blobs/uploads/1` }).end();
    });
    const target = new RegistryTarget(registry.reference(), {
      ...options,
      credentials: { username: 'a', password: 'b' },
    });
    open.push(target);
    await push(target, content);
    expect(registry.requests.at(-1)!.headers.authorization).toMatch(/^Basic/);
    expect(second.requests[0]!.headers.authorization).toBeUndefined();
    expect(second.blobs.size).toBe(1);
  });

  it.each([
    ['the POST fails', /POST/, failWith(503)],
    ['the PUT fails', /PUT/, failWith(500)],
    ['the session is gone', /PUT/, failWith(404, 'BLOB_UPLOAD_UNKNOWN')],
    ['the server hangs up during the PUT', /PUT/, hangUp],
    ['the server is busy', /POST/, failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '0' })],
    [
      'the server says 201 and forgets',
      /PUT/,
      ((_, response) => void response.writeHead(201).end()) as Handler,
    ],
  ] as const)('begins a new session when %s', async (_, match, handler) => {
    registry.intercept(match, handler);
    await push(targetOf(), content);
    expect(registry.blobs.get(ociDigest(content))!.equals(content)).toBe(true);
    expect(registry.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
  });

  it.each([
    ['no Location', /POST/, ((_, response) => void response.writeHead(202).end()) as Handler, 'MALFORMED'],
    [
      'another digest',
      /PUT/,
      ((_, r) => void r.writeHead(201, { 'docker-content-digest': 'sha256:0' }).end()) as Handler,
      'DIGEST_MISMATCH',
    ],
    ['403', /POST/, failWith(403, 'DENIED'), 'DENIED'],
    ['a refused digest', /PUT/, failWith(400, 'DIGEST_INVALID'), 'FAILED'],
    ['500 for ever', /PUT/, failWith(500), 'UNAVAILABLE'],
    ['413', /PUT/, failWith(413), 'LIMIT_EXCEEDED'],
  ] as const)(
    'says so and leaves no file when the server answers with %s',
    async (_, match, handler, code) => {
      registry.intercept(match, handler, always);
      const target = targetOf();
      await expect(push(target, content)).rejects.toMatchObject({ code });
      await target.abort();
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  it('refuses bytes that are not the expected ones, before anything is sent', async () => {
    const target = targetOf();
    const writer = await target.createBlob();
    await writer.write(content);
    await expect(writer.commit(ociDigest(Buffer.from('other')))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    await target.abort();
    expect(registry.requests).toEqual([]);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('puts manifests under the tag, members under their digest, and those that are there not again', async () => {
    const target = targetOf();
    const member = await target.putManifest(manifest, OCI_MANIFEST, { tag: false });
    expect(member).toEqual({ mediaType: OCI_MANIFEST, digest: ociDigest(manifest), size: manifest.length });
    await target.putManifest(manifest, OCI_MANIFEST, { tag: true });
    await target.putManifest(manifest, OCI_MANIFEST, { tag: false });
    const puts = registry.requests.filter(({ method }) => method === 'PUT');
    expect(puts.map(({ url }) => url)).toEqual([
      `/v2/team/app/manifests/${member.digest}`,
      '/v2/team/app/manifests/1',
    ]);
    expect(puts[0]!.headers['content-type']).toBe(OCI_MANIFEST);
  });

  it('refuses a manifest that is not the one the target names', async () => {
    const target = targetOf(`team/app:1@sha256:${'0'.repeat(64)}`);
    await expect(target.putManifest(manifest, OCI_MANIFEST, { tag: true })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    expect(registry.requests).toEqual([]);
  });

  it('asks by GET where HEAD is not answered as it should be', async () => {
    registry.manifests.set(ociDigest(manifest), { mediaType: OCI_MANIFEST, bytes: manifest });
    registry.intercept(/HEAD/, (_, response) => answerError(response, 405, 'UNSUPPORTED'));
    await targetOf().putManifest(manifest, OCI_MANIFEST, { tag: false });
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });
});

it('gives back what was pushed or says why not, whatever mixture of faults comes between', async () => {
  const faults: [RegExp, Handler][] = [
    [/POST/, failWith(503)],
    [/PUT/, hangUp],
    [/HEAD/, failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '0' })],
    [/GET/, cutAfterAny(12_345)],
    [/GET/, failWith(502)],
    [/GET/, hangUp],
    [/GET .*blobs/, ignoreRange],
    [/PUT/, failWith(404, 'BLOB_UPLOAD_INVALID')],
    [/GET .*blobs/, (_, response) => void response.end('wrong bytes')],
  ];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(faults.length - 1), { maxLength: 8 }), async (chosen) => {
      const bytes = randomBytes(50_000);
      for (const index of chosen) registry.intercept(...faults[index]!);
      try {
        const blob = { mediaType: 'x', ...(await push(targetOf(), bytes)) };
        expect((await drain(sourceOf().openBlob(blob))).equals(bytes)).toBe(true);
      } catch (error) {
        expect(['UNAVAILABLE', 'DIGEST_MISMATCH', 'TRUNCATED']).toContain((error as { code?: string }).code);
      }
    }),
    { numRuns: 40, seed: 20260722 },
  );
}, 60_000);

function cutAfterAny(count: number): Handler {
  return (request, response, next) =>
    /blobs/.test(request.url) ? cutAfter(registry, count)(request, response, next) : next();
}
