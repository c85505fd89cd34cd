import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { openBlob } from '../../src/registry/blobs.js';
import { checkLogin } from '../../src/registry/check-login.js';
import { getManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession, type Session } from '../../src/registry/session.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { type CertificateFiles, makeCertificate } from '../support/certificates.js';
import { quickly } from '../support/fake-registry.js';
import { missingPrograms } from '../support/programs.js';
import { type SecuredRegistryOptions, startSecuredRegistry } from '../support/secured-registry.js';
import { startTokenServer, type TokenServer, type TokenServerOptions } from '../support/token-server.js';

const missing = missingPrograms('docker-registry', 'openssl', 'htpasswd');
const anna = { username: 'anna', password: 'open:sesame s3cret' };
const blob = Buffer.from('some bytes of a blob');
const mediaType = 'application/vnd.oci.image.index.v1+json';
const manifest = Buffer.from('{"schemaVersion":2,"manifests":[]}');

let directory: string;
let ca: CertificateFiles;
let server: CertificateFiles;
let client: CertificateFiles;
let cleanups: (() => unknown)[] = [];

beforeAll(() => {
  if (missing !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), 'rafter-secured-'));
  ca = makeCertificate(directory, 'ca');
  server = makeCertificate(directory, 'server', ca);
  client = makeCertificate(directory, 'client', ca);
});
afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  cleanups = [];
});

async function start(options: SecuredRegistryOptions): Promise<string> {
  const registry = await startSecuredRegistry({ tls: server, ...options });
  cleanups.push(registry.stop);
  return registry.host;
}

/** Options of a machine on which nothing is configured. */
function bare(options: RegistryOptions = {}): RegistryOptions {
  const nowhere = join(directory, 'nowhere');
  return {
    dockerConfig: join(nowhere, 'config.json'),
    places: { certsDirs: [], hostsDir: nowhere, registriesConf: [], registriesConfDirs: [] },
    env: { HOME: nowhere },
    retry: quickly,
    ...options,
  };
}

const reference = (host: string) => parseReference(`${host}/team/app:1`) as RegistryReference;

async function push(host: string, options: RegistryOptions): Promise<void> {
  const target = new RegistryTarget(reference(host), options);
  try {
    const writer = await target.createBlob();
    await writer.write(blob);
    await writer.commit();
    await target.putManifest(manifest, mediaType, { tag: true });
    await target.commit();
  } finally {
    await target.abort();
  }
}

function open(host: string, options: RegistryOptions): Session {
  const session = openSession(reference(host), options);
  cleanups.push(() => session.close());
  return session;
}

async function pull(session: Session): Promise<Buffer> {
  await getManifest(session, '1');
  const pieces: Buffer[] = [];
  const descriptor = { digest: ociDigest(blob), size: blob.length };
  for await (const piece of await openBlob(session, descriptor)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

describe('docker-registry with TLS of a private authority and htpasswd', () => {
  it('is trusted by --ca, by certs.d, by hosts.toml, by the machine’s store; not without', async () => {
    const host = await start({ htpasswd: { user: anna.username, password: anna.password } });
    const withLogin = { plainHttp: false, credentials: anna };
    await push(host, bare({ ...withLogin, caFile: ca.cert }));

    const certs = join(directory, 'certs', host);
    mkdirSync(certs, { recursive: true });
    copyFileSync(ca.cert, join(certs, 'corporate.crt'));
    const hosts = join(directory, 'hosts', host);
    mkdirSync(hosts, { recursive: true });
    writeFileSync(join(hosts, 'hosts.toml'), `server = "https://${host}"\nca = "../../ca.crt"\n`);
    const { places } = bare();
    const ways: RegistryOptions[] = [
      { caFile: ca.cert },
      { places: { ...places, certsDirs: [join(directory, 'certs')] } },
      { places: { ...places, hostsDir: join(directory, 'hosts') } },
      { env: { HOME: directory, SSL_CERT_FILE: ca.cert } },
      { env: { HOME: directory, NODE_EXTRA_CA_CERTS: ca.cert } },
    ];
    for (const way of ways) {
      expect(await pull(open(host, bare({ ...withLogin, ...way }))), JSON.stringify(way)).toEqual(blob);
    }
    await expect(pull(open(host, bare(withLogin)))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      temporary: false,
      hint: expect.stringContaining('--ca FILE'),
    });
    await expect(pull(open(host, bare({ caFile: ca.cert })))).rejects.toMatchObject({ code: 'DENIED' });
  });

  it('is not spoken to without TLS unless that is asked for, and then says that it has TLS', async () => {
    const host = await start({});
    await expect(pull(open(host, bare({ plainHttp: true })))).rejects.toMatchObject({
      hint: expect.stringContaining('leave out --plain-http'),
    });
  });

  it('wants the certificate of the client, which certs.d has', async () => {
    const host = await start({ clientAuthority: ca.cert });
    await expect(push(host, bare({ caFile: ca.cert }))).rejects.toMatchObject({
      // With TLS 1.3, what the server says may be lost when it hangs up.
      code: expect.stringMatching(/^(DENIED|UNAVAILABLE)$/),
      hint: expect.stringContaining('--cert'),
    });
    const certs = join(directory, 'mutual', host);
    mkdirSync(certs, { recursive: true });
    copyFileSync(ca.cert, join(certs, 'ca.crt'));
    copyFileSync(client.cert, join(certs, 'client.cert'));
    copyFileSync(client.key, join(certs, 'client.key'));
    const places = { ...bare().places, certsDirs: [join(directory, 'mutual')] };
    await push(host, bare({ plainHttp: false, places }));
    expect(await pull(open(host, bare({ plainHttp: false, places })))).toEqual(blob);
  });
});

describe('docker-registry with a token server', () => {
  let tokens: TokenServer;
  const identity = 'identity-token-of-anna';

  async function startWithTokens(options: Partial<TokenServerOptions> = {}): Promise<string> {
    const service = 'registry of the tests';
    tokens = await startTokenServer({
      signer: server,
      service,
      tls: server,
      users: { [anna.username]: anna.password },
      identityTokens: { [anna.username]: identity },
      pushers: [anna.username],
      ...options,
    });
    cleanups.push(tokens.stop);
    return await start({ token: { realm: tokens.realm, service, rootCertificate: ca.cert } });
  }
  const trusting = (options: RegistryOptions = {}) => bare({ caFile: ca.cert, ...options });

  it('lets the right user push, and everybody pull, with one token for each', async () => {
    const host = await startWithTokens();
    await push(host, trusting({ credentials: anna }));
    expect(await pull(open(host, trusting()))).toEqual(blob);
    expect(tokens.requests.map(({ user, scopes }) => [user, scopes.join(' ')])).toEqual([
      ['anna', 'repository:team/app:pull,push'],
      [undefined, 'repository:team/app:pull'],
    ]);
    await expect(push(host, trusting())).rejects.toMatchObject({ code: 'DENIED' });
    const wrong = { ...anna, password: 'something else' };
    await expect(push(host, trusting({ credentials: wrong }))).rejects.toMatchObject({ code: 'DENIED' });
  });

  it('ends a token in the middle, earlier than it said, and nobody notices', async () => {
    // docker-registry lets a token be used for a minute after its end: this one for some seconds more.
    const timing = { lifetime: -57, saidLifetime: 300 };
    const host = await startWithTokens();
    await push(host, trusting({ credentials: anna }));
    Object.assign(tokens.timing, timing);
    const session = open(host, trusting({ credentials: anna }));
    expect(await pull(session)).toEqual(blob);
    const before = tokens.requests.length;
    Object.assign(tokens.timing, { lifetime: 300 });
    await vi.waitFor(
      async () => {
        expect(await pull(session)).toEqual(blob);
        expect(tokens.requests.length).toBe(before + 1);
      },
      { timeout: 60_000, interval: 200 },
    );
  });

  it('takes the identity token that a log-in gave, by POST, and no password any more', async () => {
    const host = await startWithTokens();
    const checked = await checkLogin(host, anna, trusting());
    expect(checked).toEqual({ isOpen: false, identityToken: identity });
    const config = join(directory, 'identity.json');
    writeFileSync(config, JSON.stringify({ auths: { [host]: { identitytoken: identity } } }));
    await push(host, trusting({ dockerConfig: config }));
    expect(tokens.requests.at(-1)).toMatchObject({
      method: 'POST',
      grantType: 'refresh_token',
      scopes: ['repository:team/app:pull,push'],
      user: 'anna',
    });
    await expect(checkLogin(host, { ...anna, password: 'wrong' }, trusting())).rejects.toMatchObject({
      code: 'DENIED',
    });
  });
});

it('of a log-in that was changed in the meantime, a session takes the new one', async () => {
  const host = await start({ htpasswd: { user: anna.username, password: anna.password } });
  const config = join(directory, 'rotated.json');
  const write = (password: string) => {
    const auth = Buffer.from(`${anna.username}:${password}`).toString('base64');
    writeFileSync(config, JSON.stringify({ auths: { [host]: { auth } } }));
  };
  const options = bare({ caFile: ca.cert, dockerConfig: config });
  write(anna.password);
  await push(host, options);
  const session = open(host, options);
  write('not yet');
  await expect(pull(session)).rejects.toMatchObject({ code: 'DENIED' });
  write(anna.password);
  expect(await pull(session)).toEqual(blob);
  expect(readFileSync(config, 'utf8')).not.toContain(anna.password);
});
