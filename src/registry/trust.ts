import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { errnoOf, messageOf, RafterError } from '../errors.js';
import { systemReason } from '../os/system-error.js';
import type { TlsSettings } from './hosts/endpoint.js';

/** Where distributions keep the certificate authorities of the machine (Go's crypto/x509 looks there, too); the first counts. */
const SYSTEM_STORES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];
/** Contexts with every authority that are kept; one holds some megabytes and takes a tenth of a second to make. */
const MAX_KEPT = 4;
const kept = new Map<string, SecureContext>();

/** What connections to one server are made with. */
export interface Trust {
  /**
   * Trusts the authorities of the server's settings if there are any, else those that Node.js brings along. Made in a
   * millisecond, and enough for most servers.
   */
  first: SecureContext;
  /** Trusts those and all others: of Node.js, of the machine, of SSL_CERT_FILE and NODE_EXTRA_CA_CERTS. */
  all(): Promise<SecureContext>;
}

/** Reads the files of `settings`. NOT_FOUND, DENIED or MALFORMED name a file that is not as it should be. */
export async function readTrust(settings: TlsSettings, env: NodeJS.ProcessEnv): Promise<Trust> {
  const ca = await Promise.all(settings.ca.map(readPem));
  const cert = await Promise.all(settings.clients.map((client) => readPem(client.cert)));
  const key = await Promise.all(settings.clients.map((client) => readPem(client.key)));
  const identity = cert.length === 0 ? {} : { cert, key };
  const names = [...settings.ca, ...settings.clients.flatMap((client) => [client.cert, client.key])];
  return {
    first: makeContext({ ...identity, ...(ca.length > 0 && { ca }) }, names),
    async all() {
      const everywhere = [...rootCertificates, ...(await machineAuthorities(env)), ...ca];
      const id = createHash('sha256')
        .update(JSON.stringify([everywhere, cert, key]))
        .digest('hex');
      const context = kept.get(id) ?? makeContext({ ...identity, ca: everywhere.join('\n') }, names);
      kept.delete(id);
      kept.set(id, context);
      if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value!);
      return context;
    },
  };
}

async function machineAuthorities(env: NodeJS.ProcessEnv): Promise<string[]> {
  const found: string[] = [];
  for (const path of env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : SYSTEM_STORES) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    found.push(text);
    break;
  }
  // Node.js has warned already if this one cannot be read.
  const extra = env.NODE_EXTRA_CA_CERTS
    ? await readFile(env.NODE_EXTRA_CA_CERTS, 'utf8').catch(() => '')
    : '';
  return extra === '' ? found : [...found, extra];
}

function makeContext(
  options: Parameters<typeof createSecureContext>[0],
  names: readonly string[],
): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    const where = names.length === 0 ? 'the certificate authorities of this machine' : names.join(', ');
    throw new RafterError('MALFORMED', `${where}: not usable for TLS: ${messageOf(error)}`, {
      hint: 'a key must belong to its certificate and must not be encrypted',
    });
  }
}

/** The text of a PEM file. NOT_FOUND, DENIED or MALFORMED. */
export async function readPem(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.includes('-----BEGIN ')) return text;
  } catch (error) {
    const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'NOT_FOUND';
    throw new RafterError(code, `${path}: ${systemReason(error)}`, {
      cause: error,
      hint: 'certificates and keys are files in PEM form',
    });
  }
  throw new RafterError('MALFORMED', `${path}: no PEM file (it has no -----BEGIN line)`, {
    hint: 'openssl x509 -inform der -in FILE makes one of a DER certificate',
  });
}
