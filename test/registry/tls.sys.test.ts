import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { getManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession } from '../../src/registry/session.js';
import { makeCertificate } from '../support/certificates.js';
import { missingPrograms } from '../support/programs.js';

const missing = missingPrograms('openssl');
let directory: string;
let server: Server;
let host: string;
const file = (name: string) => join(directory, name);

beforeAll(async () => {
  if (missing !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), 'rafter-tls-'));
  const authority = makeCertificate(directory, 'ca');
  for (const name of ['server', 'client']) makeCertificate(directory, name, authority);
  const [key, cert, ca] = ['server.key', 'server.crt', 'ca.crt'].map((name) => readFileSync(file(name)));
  server = createServer(
    { key, cert, ca, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const isKnown = (request.socket as TLSSocket).authorized;
      response.writeHead(isKnown ? 200 : 403).end('{"schemaVersion":2,"manifests":[]}');
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server?.close();
  server?.closeAllConnections();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});

async function read(options: RegistryOptions) {
  const session = openSession(parseReference(`${host}/x:1`) as RegistryReference, options);
  try {
    return await getManifest(session, '1');
  } finally {
    await session.close();
  }
}

it('trusts nobody without being told, and says how to tell', async () => {
  await expect(read({ plainHttp: false })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    temporary: false,
    hint: expect.stringContaining('--ca FILE'),
  });
});

it('trusts the certificate authority of a file, and shows a client certificate', async () => {
  const caFile = file('ca.crt');
  await expect(read({ caFile })).rejects.toMatchObject({ code: 'DENIED' });
  const client = { certFile: file('client.crt'), keyFile: file('client.key') };
  expect((await read({ caFile, ...client })).descriptor.size).toBe(34);
});
