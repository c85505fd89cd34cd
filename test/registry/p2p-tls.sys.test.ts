import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Descriptor } from '../../src/image/descriptor.js';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import type { RegistryOptions, Traffic } from '../../src/registry/options.js';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { type CertificateFiles, makeCertificate } from '../support/certificates.js';
import { type DragonflyCluster, startDragonfly } from '../support/dragonfly-cluster.js';
import { quickly } from '../support/fake-registry.js';
import { missingPrograms, peer } from '../support/programs.js';
import { type SecuredRegistryOptions, startSecuredRegistry } from '../support/secured-registry.js';
import { startTokenServer } from '../support/token-server.js';

const PIECE = 4 << 20;
const [scheduler, dfdaemon] = [peer('scheduler'), peer('dfdaemon')];
const missing = missingPrograms('docker-registry', 'openssl', 'htpasswd');
const anna = { username: 'anna', password: 'open:sesame s3cret' };

let dir: string;
let ca: CertificateFiles;
let server: CertificateFiles;
let cluster: DragonflyCluster;
let cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  if (missing !== undefined || scheduler === undefined || dfdaemon === undefined) return;
  dir = mkdtempSync(join(tmpdir(), 'rafter-p2p-tls-'));
  ca = makeCertificate(dir, 'ca');
  server = makeCertificate(dir, 'server', ca);
  cluster = await startDragonfly({ scheduler, dfdaemon }, 'https://registry.test', { ca: ca.cert });
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
});
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
  if (scheduler === undefined || dfdaemon === undefined)
    context.skip('RAFTER_PEERS does not name a folder with dfdaemon and scheduler');
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  cleanups = [];
});

/** A registry with TLS, and a blob of its own that Anna has put there: the cluster gives what it has to everybody. */
async function start(
  doors: SecuredRegistryOptions,
): Promise<{ host: string; bytes: Buffer; blob: Descriptor }> {
  const registry = await startSecuredRegistry({ tls: server, ...doors });
  cleanups.push(registry.stop);
  const { host } = registry;
  const bytes = randomBytes(2 * PIECE + 1000);
  const target = new RegistryTarget(reference(host), options({ credentials: anna }));
  try {
    const writer = await target.createBlob();
    await writer.write(bytes);
    const mediaType = 'application/octet-stream';
    return { host, bytes, blob: { mediaType, ...(await writer.commit()) } };
  } finally {
    await target.abort();
  }
}

const reference = (host: string) => parseReference(`${host}/team/app:1`) as RegistryReference;

/** Options of a machine on which nothing is configured but the authority. */
function options(more: RegistryOptions): RegistryOptions {
  return {
    plainHttp: false,
    caFile: ca.cert,
    dockerConfig: '/nonexistent/config.json',
    places: { certsDirs: [], hostsDir: '/nonexistent', registriesConf: [], registriesConfDirs: [] },
    env: {},
    retry: quickly,
    ...more,
  };
}

/** A source that reads through the peer, and what it heard. */
function open(host: string, more: RegistryOptions) {
  const events: Traffic[] = [];
  const source = new RegistrySource(
    reference(host),
    options({ ...more, p2p: cluster.url, onTraffic: (event) => events.push(event) }),
  );
  cleanups.push(() => source.close());
  const from = (place: 'peers' | 'registry') =>
    events.reduce(
      (sum, event) => sum + (event.kind === 'bytes' && event.from === place ? event.count : 0),
      0,
    );
  return { source, from, fails: () => events.filter(({ kind }) => kind === 'peer failed') };
}

it('reads a registry with a private authority and a password through dfdaemon, which is told of both', async () => {
  const { host, bytes, blob } = await start({ htpasswd: { user: anna.username, password: anna.password } });
  const stranger = open(host, {});
  await expect(stranger.source.readBlobRange(blob, 0, 10)).rejects.toMatchObject({ code: 'DENIED' });
  const { source, from, fails } = open(host, { credentials: anna });
  const range = await source.readBlobRange(blob, PIECE, 1000);
  expect(range.equals(bytes.subarray(PIECE, PIECE + 1000))).toBe(true);
  expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
  expect([from('peers'), from('registry'), fails()]).toEqual([1000 + bytes.length, 0, []]);
});

it('reads one with tokens, which it asks for itself', async () => {
  const service = 'rafter test registry';
  const users = { [anna.username]: anna.password };
  const tokens = await startTokenServer({ signer: server, service, users, pushers: ['anna'], tls: server });
  cleanups.push(tokens.stop);
  const { host, bytes, blob } = await start({
    token: { realm: tokens.realm, service, rootCertificate: ca.cert },
  });
  const { source, from, fails } = open(host, { credentials: anna });
  expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
  expect([from('peers'), from('registry'), fails()]).toEqual([bytes.length, 0, []]);
  const pulls = tokens.requests.filter(({ scopes }) => scopes.join() === 'repository:team/app:pull');
  expect(pulls.map(({ user }) => user)).toEqual(['anna']);
});
