import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CertificateFiles } from './certificates.js';

export interface SecuredRegistryOptions {
  tls?: CertificateFiles;
  /** Only clients with a certificate of this authority are let in. */
  clientAuthority?: string;
  htpasswd?: { user: string; password: string };
  token?: { realm: string; service: string; rootCertificate: string };
}

const START_TIMEOUT_MS = 30_000;

/** Debian's docker-registry itself, on a free loopback port, with what a registry in the field has for doors. */
export async function startSecuredRegistry(
  options: SecuredRegistryOptions,
): Promise<{ host: string; stop(): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), 'rafter-secured-'));
  const port = await freePort();
  const config = join(directory, 'config.yml');
  writeFileSync(config, configText(directory, port, options));
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (piece: Buffer) => {
    output = (output + piece.toString()).slice(-4000);
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  for (const end = Date.now() + START_TIMEOUT_MS; !(await listens(port)); await sleep(50)) {
    if (child.exitCode === null && Date.now() < end) continue;
    await stop();
    throw new Error(`docker-registry did not come up: ${output}`);
  }
  return { host: `127.0.0.1:${port}`, stop };
}

function configText(directory: string, port: number, options: SecuredRegistryOptions): string {
  const { tls, clientAuthority, htpasswd, token } = options;
  const clients = clientAuthority === undefined ? '' : `, clientcas: [${clientAuthority}]`;
  const tlsText = tls === undefined ? '' : `, tls: { certificate: ${tls.cert}, key: ${tls.key}${clients} }`;
  const lines = [
    'version: 0.1',
    'log: { level: error, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${join(directory, 'storage')} }, delete: { enabled: true } }`,
    `http: { addr: 127.0.0.1:${port}${tlsText} }`,
  ];
  if (htpasswd !== undefined) {
    const file = join(directory, 'htpasswd');
    writeFileSync(file, execFileSync('htpasswd', ['-Bbn', htpasswd.user, htpasswd.password]));
    lines.push(`auth: { htpasswd: { realm: test, path: ${file} } }`);
  }
  if (token !== undefined) {
    const { realm, service, rootCertificate } = token;
    lines.push(
      `auth: { token: { realm: "${realm}", service: "${service}", issuer: rafter tests, rootcertbundle: ${rootCertificate} } }`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
