import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import {
  cutAfter,
  type FakeRegistry,
  failWith,
  type Handler,
  quickly,
  startFakeRegistry,
} from '../support/fake-registry.js';

const always = Number.POSITIVE_INFINITY;
const content = randomBytes(3_000_000);
const options = {
  dockerConfig: '/nonexistent',
  retry: quickly,
  credentials: { username: 'user', password: 'marked-secret' },
};

let registry: FakeRegistry;
let storage: FakeRegistry;
/** The signature that the storage takes now. */
let signature: number;
let source: RegistrySource;
beforeEach(async () => {
  [registry, storage] = await Promise.all([startFakeRegistry(), startFakeRegistry()]);
  signature = 1;
  source = new RegistrySource(registry.reference(), options);
  registry.intercept(/(?:GET|HEAD) .*blobs/, toStorage, always);
  storage.intercept(
    /./,
    (request, response, next) => {
      if (request.url.endsWith(`?sig=${signature}`)) next();
      else failWith(403, 'AccessDenied')(request, response, next);
    },
    always,
  );
});
afterEach(async () => {
  await source.close();
  await Promise.all([registry.stop(), storage.stop()]);
});

const toStorage: Handler = (request, response) => {
  if (request.headers.authorization === undefined) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return;
  }
  const location = `http://${storage.host}${request.url}?sig=${signature}`;
  response.writeHead(307, { location }).end();
};

const asked = () => registry.requests.filter(({ headers }) => headers.authorization !== undefined).length;

it('is asked of the registry once for many ranges', async () => {
  const blob = storage.addBlob(content);
  for (const offset of [0, 1_000_000, 2_000_000, 2_999_990]) {
    expect(await source.readBlobRange(blob, offset, 10)).toEqual(content.subarray(offset, offset + 10));
  }
  expect(asked()).toBe(1);
  expect(storage.requests).toHaveLength(4);
});

it('is asked again when its signature has ended, also in the middle of a blob', async () => {
  const blob = storage.addBlob(content);
  await source.readBlobRange(blob, 5, 10);
  signature = 2;
  expect(await source.readBlobRange(blob, 5, 10)).toEqual(content.subarray(5, 15));
  expect(asked()).toBe(2);

  storage.intercept(/GET/, (request, response, next) => {
    signature = 3;
    cutAfter(storage, 1_000_000)(request, response, next);
  });
  expect((await buffer(await source.openBlob(blob))).equals(content)).toBe(true);
  expect(asked()).toBe(3);
  expect(storage.requests.at(-1)!.headers.range).toMatch(/^bytes=[1-9]\d+-2999999$/);
});

it('gets no credentials, from the beginning or from memory', async () => {
  const blob = storage.addBlob(content);
  await source.readBlobRange(blob, 5, 10);
  await source.readBlobRange(blob, 50, 10);
  await buffer(await source.openBlob(blob));
  expect(storage.requests.length).toBeGreaterThan(2);
  expect(storage.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
});

it('that refuses HEAD is asked for one byte', async () => {
  const blob = storage.addBlob(content);
  storage.intercept(/HEAD/, failWith(403, 'AccessDenied'), always);
  const target = new RegistryTarget(registry.reference(), options);
  expect(await target.hasBlob(blob)).toBe(true);
  expect(await target.hasBlob({ ...blob, size: 5 })).toBe(false);
  expect(storage.requests.at(-1)!.headers.range).toBe('bytes=0-0');
  await target.abort();
});

it('that goes on refusing is an error without the signature in it', async () => {
  const blob = storage.addBlob(content);
  storage.intercept(/GET/, failWith(403, 'AccessDenied'), always);
  const error = await source.readBlobRange(blob, 5, 10).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'DENIED', status: 403 });
  expect(String(error)).not.toMatch(/sig=|marked-secret/);
});
