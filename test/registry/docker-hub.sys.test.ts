/*
 * Docker Hub as its answers are: its own names reach a registry of this process through a proxy.
 *
 * What is known of each kind of registry, and which test shows it; "n/a": asks nothing of a client like this one.
 *   Docker Hub    token from auth.docker.io, log-in under the old URL, library/, signed URLs, limits, HEAD is free: here
 *                 mount within the account, none without `from`; one PUT: here, profiles.sys
 *   ECR, Public   Basic with a password of 12 hours: auth "Basic ... configured by then"; PATCH 201, later ones lost: profiles.sys
 *                 mount answered 202: profiles.sys "mounting"; no repository, immutable tags: profiles.sys hints; quotas: retry, faults
 *                 parts of 5 MiB: n/a (one PUT)
 *   Google        no upload in pieces: profiles.sys; referrers lead to a page: referrers.sys; user names with a JSON key: credentials.sys;
 *                 token by POST is 404: n/a (a password asks by GET); an empty configuration: n/a (never written)
 *   GHCR          PATCH with a length refused, second one replaces: profiles.sys; no list of referrers: referrers.sys;
 *                 storage refuses HEAD: redirect.sys; private packages: profiles.sys hints; 2000 requests a minute: faults (429)
 *   ACR           large PUT refused, then pieces: profiles.sys; refresh token as password: auth.sys "identity token";
 *                 exchange of an AAD token: n/a (az does that and gives the password)
 *   Quay          mount without `from` is an error: profiles.sys; robots ORG+NAME, old media types: profiles.sys hints
 *   Harbor        token service with a path of its own: auth.sys (any realm); projects, quota, policies: profiles.sys hints;
 *                 robots with `$`: credentials.sys (no shell anywhere)
 *   Distribution  2.8 and 3 themselves: servers.sys; relative Location with a query: upload.sys, registry.sys; no DELETE: delete-image.sys
 *   zot           itself: servers.sys; unquoted realm: challenge; at most 16 ranges in a request: n/a (one range each)
 *   Artifactory   token by POST is 401: n/a (a password asks by GET); fallback tag: referrers.sys; a prefix in the name: n/a (a name like any)
 *   GitLab, Gitea, Cloudsmith, Chainguard   bearer, no mount, no deletion: auth, profiles.sys "mounting", delete-image.sys;
 *                 a token is not used for another scope: auth
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { headManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession } from '../../src/registry/session.js';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { copyImage } from '../../src/transports/copy.js';
import { answerError, type FakeRegistry, quickly, startFakeRegistry } from '../support/fake-registry.js';
import { type ProxyServer, startProxyServer } from '../support/proxy-server.js';

const always = Number.POSITIVE_INFINITY;
const content = Buffer.from(Array.from({ length: 2_000_000 }, (_, i) => (i * 7919) & 0xff));
const STORAGE = 'production.cloudflare.docker.com';

let directory: string;
let hub: FakeRegistry;
let proxy: ProxyServer;
let options: RegistryOptions;
let layer: { mediaType: string; digest: string; size: number };
let digest: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-hub-'));
  hub = await startFakeRegistry();
  proxy = await startProxyServer({ target: { host: '127.0.0.1', port: Number(hub.host.split(':')[1]) } });
  const auth = Buffer.from('somebody:dckr_pat_x').toString('base64');
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({ auths: { 'https://index.docker.io/v1/': { auth } } }),
  );
  options = {
    plainHttp: true,
    dockerConfig: join(directory, 'config.json'),
    env: { HOME: directory, HTTP_PROXY: proxy.url },
    places: { certsDirs: [], hostsDir: directory, registriesConf: [], registriesConfDirs: [] },
    retry: { ...quickly, attempts: 2 },
  };
  layer = { ...hub.addBlob(content), mediaType: OCI_LAYER_GZIP };
  const config = { ...hub.addBlob(Buffer.from('{}')), mediaType: OCI_CONFIG };
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] }),
  );
  digest = ociDigest(bytes);
  for (const name of ['3.12', digest]) hub.manifests.set(name, { mediaType: OCI_MANIFEST, bytes });
  // Absolute ones would have the address of this process in them.
  hub.uploads.traits.relative = true;
  hub.intercept(/./, answerAsHub, always);
});
afterEach(async () => {
  await hub.stop();
  await proxy.stop();
  rmSync(directory, { recursive: true });
});

/** The token server and the storage have names of their own; blobs are not given away by the registry itself. */
const answerAsHub: Parameters<FakeRegistry['intercept']>[1] = (request, response, next) => {
  const { host, authorization, range } = request.headers;
  const url = new URL(request.url, `http://${host}`);
  if (host === 'auth.docker.io')
    return void response.end('{"token":"t","access_token":"t","expires_in":300}');
  if (host === STORAGE) {
    const blob = hub.blobs.get(url.searchParams.get('digest')!)!;
    if (request.method === 'HEAD' || authorization !== undefined) return void response.writeHead(403).end();
    const [start, end] = range === undefined ? [0, blob.length - 1] : range.slice(6).split('-').map(Number);
    const headers = { 'content-range': `bytes ${start}-${end}/${blob.length}` };
    response.writeHead(range === undefined ? 200 : 206, range === undefined ? {} : headers);
    return void response.end(blob.subarray(start, end! + 1));
  }
  if (authorization !== 'Bearer t') {
    const scope = `repository:${/^\/v2\/(.+?)\/(?:blobs|manifests)\//.exec(url.pathname)![1]}:pull`;
    const challenge = `Bearer realm="http://auth.docker.io/token",service="registry.docker.io",scope="${scope}"`;
    return answerError(response, 401, 'UNAUTHORIZED', { 'www-authenticate': challenge });
  }
  const blob = /\/blobs\/(sha256:.*)$/.exec(url.pathname)?.[1];
  if (request.method !== 'GET' || blob === undefined) return next();
  response.writeHead(307, { location: `http://${STORAGE}/data?verify=1-a%2Bb&digest=${blob}` }).end();
};

const reference = (name: string) => parseReference(name) as RegistryReference;
/** What `host` was asked, without what it refused. */
const asked = (host: string) => hub.requests.filter(({ headers }) => headers.host === host);
const manifestRequests = () =>
  asked('registry-1.docker.io')
    .filter(({ url, headers }) => url.includes('/manifests/') && headers.authorization !== undefined)
    .map(({ method, url }) => `${method} ${url}`);

it('gives an official image with a log-in, its blobs from a storage that sees no log-in', async () => {
  const source = new RegistrySource(reference('python:3.12'), options);
  await source.readManifest(await source.resolve());
  expect((await buffer(await source.openBlob(layer))).equals(content)).toBe(true);
  hub.requests.length = 0;
  expect(await source.readBlobRange(layer, 5000, 100)).toEqual(content.subarray(5000, 5100));
  // The signed address is still good: neither the registry nor the token server is asked.
  expect(hub.requests.map(({ headers }) => headers.host)).toEqual([STORAGE]);
  await source.close();
});

it('is asked for a token as it wants that, and for each manifest by one GET, which is what it counts', async () => {
  const source = new RegistrySource(reference('docker.io/python:3.12'), options);
  await source.readManifest(await source.resolve());
  await source.close();
  const [{ url, headers }] = asked('auth.docker.io') as [(typeof hub.requests)[number]];
  const query = new URL(url, 'http://x').searchParams;
  expect(query.get('service')).toBe('registry.docker.io');
  expect(query.getAll('scope')).toEqual(['repository:library/python:pull']);
  expect(headers.authorization).toBe(`Basic ${Buffer.from('somebody:dckr_pat_x').toString('base64')}`);
  expect(asked('auth.docker.io')).toHaveLength(1);
  expect(manifestRequests()).toEqual(['GET /v2/library/python/manifests/3.12']);
});

it('is asked by HEAD, which it does not count, where the bytes of a manifest are not needed', async () => {
  const session = openSession(reference('python:3.12'), options);
  expect((await headManifest(session, '3.12', { access: 'pull' }))?.digest).toBe(digest);
  await session.close();
  expect(manifestRequests()).toEqual(['HEAD /v2/library/python/manifests/3.12']);
});

it('tells how many pulls it allows, for whom, and what would allow more', async () => {
  hub.intercept(
    /manifests/,
    (_, response) =>
      answerError(response, 429, 'TOOMANYREQUESTS', {
        'ratelimit-limit': '100;w=21600',
        'ratelimit-remaining': '0;w=21600',
        'docker-ratelimit-source': '192.0.2.1',
        'retry-after': '3600',
      }),
    always,
  );
  const source = new RegistrySource(reference('python:3.12'), options);
  const error = await source.resolve().catch((caught: unknown) => caught);
  await source.close();
  expect(error).toMatchObject({
    code: 'UNAVAILABLE',
    hint: expect.stringContaining('rafter login docker.io'),
  });
  const shown = ['limit 100;w=21600', 'remaining 0;w=21600', 'counted for 192.0.2.1', 'try again after 3600'];
  for (const text of shown) expect((error as Error).message).toContain(text);
  // It asked for more than anybody waits: not asked again.
  expect(asked('registry-1.docker.io')).toHaveLength(1);
});

it('takes a layer over from another repository of the account, and is not asked to without one', async () => {
  hub.uploads.elsewhere.set('somebody/base', new Map([[layer.digest, content]]));
  hub.blobs.delete(layer.digest);
  const target = new RegistryTarget(reference('somebody/app:1'), options);
  const base = new RegistrySource(reference('somebody/base:3.12'), options);
  expect(await target.putBlob(layer, base, {})).toBe(false);
  const [mount] = hub.requests.filter(({ method, headers }) => method === 'POST' && headers.authorization);
  expect(mount!.url).toContain(`from=${encodeURIComponent('somebody/base')}`);
  // The token covers both repositories.
  const scopes = new URL(asked('auth.docker.io').at(-1)!.url, 'http://x').searchParams.getAll('scope');
  expect(scopes.join(' ')).toContain('repository:somebody/base:pull');
  await base.close();

  const other = await startFakeRegistry();
  try {
    for (const [name, bytes] of hub.blobs) other.blobs.set(name, bytes);
    for (const [name, manifest] of hub.manifests) other.manifests.set(name, manifest);
    hub.blobs.clear();
    hub.requests.length = 0;
    const elsewhere = new RegistrySource(other.reference('team/app:3.12'), { dockerConfig: '/nonexistent' });
    await copyImage(elsewhere, target);
    await elsewhere.close();
    expect(hub.requests.filter(({ url }) => url.includes('mount='))).toEqual([]);
    expect(hub.blobs.get(layer.digest)?.equals(content)).toBe(true);
  } finally {
    await other.stop();
  }
});
