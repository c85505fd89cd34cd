import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, errnoOf, isRafterError, messageOf, RafterError } from '../errors.js';
import { printable } from '../image/printable.js';

/** One entry of a registry's error answer (OCI distribution spec, error codes). */
export interface RegistryErrorEntry {
  code: string;
  message: string;
}

/** Most characters of a server's own text that go into a message. */
const MAX_SERVER_TEXT = 300;
/** Error codes after which the same operation, begun anew, may succeed. */
const TEMPORARY_CODES = new Set([
  'TOOMANYREQUESTS',
  'UNAVAILABLE',
  'BLOB_UPLOAD_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
]);
/** Statuses after which the same request may succeed. 499 and 522 come from proxies. */
const TEMPORARY_STATUSES = new Set([408, 425, 429, 499, 500, 502, 503, 504, 522]);

/** A registry answered with an error status. */
export class RegistryError extends RafterError {
  readonly status: number;
  readonly errors: RegistryErrorEntry[];
  /** Milliseconds that the server asks to wait, if it does. */
  readonly retryAfterMs: number | undefined;

  constructor(
    request: string,
    answer: { status: number; headers: IncomingHttpHeaders; body: string },
    hint?: string,
  ) {
    const errors = parseErrors(answer.body);
    const temporary =
      TEMPORARY_STATUSES.has(answer.status) || errors.some(({ code }) => TEMPORARY_CODES.has(code));
    const shownHint = hint ?? hintFor(answer.body) ?? missingHint(request, answer.status);
    super(codeFor(answer.status), describe(request, answer, errors), {
      temporary,
      ...(shownHint === undefined ? {} : { hint: shownHint }),
    });
    this.status = answer.status;
    this.errors = errors;
    this.retryAfterMs = parseRetryAfter(answer.headers['retry-after'], Date.now());
  }
}

/** Milliseconds of a Retry-After header, which holds seconds or an HTTP date; undefined if it is neither. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) || !/[a-z]/i.test(text) ? undefined : Math.max(0, date - now);
}

/** The entries of a registry's JSON error answer; none if the body is something else (HTML of a proxy, nothing). */
export function parseErrors(body: string): RegistryErrorEntry[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return [];
  }
  const list = (parsed as { errors?: unknown } | null)?.errors;
  if (!Array.isArray(list)) return [];
  return list.slice(0, 16).map((entry: { code?: unknown; message?: unknown } | null) => ({
    code: plain(typeof entry?.code === 'string' ? entry.code : 'UNKNOWN'),
    message: plain(typeof entry?.message === 'string' ? entry.message : ''),
  }));
}

function missingHint(request: string, status: number): string | undefined {
  return status === 404 && request.includes('/manifests/')
    ? 'the registry answers, but has no such image: check repository and tag'
    : undefined;
}

/** What went wrong below HTTP (name, connection, TLS, timeout) as a RafterError; RafterErrors pass unchanged. */
export function networkError(error: unknown, request: string, url: URL): RafterError {
  if (error instanceof RafterError) return error;
  const errno = errnoOf(error) ?? '';
  const message = messageOf(error);
  const options = { cause: error };
  if (url.protocol === 'https:' && isTlsAgainstPlainText(errno, message)) {
    return new RafterError('UNAVAILABLE', `${request}: the server does not speak TLS`, {
      ...options,
      temporary: false,
      hint: 'if it is meant to be reached without encryption, give --plain-http',
    });
  }
  if (['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'].includes(errno)) {
    const now = new Date().toISOString().slice(0, 16);
    return new RafterError(
      'UNAVAILABLE',
      `${request}: the server's certificate is not valid now (${errno})`,
      {
        ...options,
        temporary: false,
        hint: `the clock of this machine says ${now} UTC: if that is right, the registry needs a new certificate`,
      },
    );
  }
  if (errno === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = (error as { cert?: { subjectaltname?: unknown } }).cert?.subjectaltname;
    const those = typeof names === 'string' && names !== '' ? `: ${printable(names)}` : '';
    return new RafterError(
      'UNAVAILABLE',
      `${request}: the server's certificate is not for ${url.hostname} (${errno})`,
      {
        ...options,
        temporary: false,
        hint: `call the registry by a name that its certificate has${those}`,
      },
    );
  }
  if (isCertificateError(errno)) {
    return new RafterError('UNAVAILABLE', `${request}: the server's certificate is not trusted (${errno})`, {
      ...options,
      temporary: false,
      hint: 'give the certificate authority with --ca FILE',
    });
  }
  if (isCertificateWanted(errno)) {
    return new RafterError('DENIED', `${request}: the server did not accept this client (${errno})`, {
      ...options,
      hint: CERTIFICATE_HINT,
    });
  }
  if (errno === 'ENOTFOUND') {
    return new RafterError('UNAVAILABLE', `${request}: no address is known for ${url.hostname}`, {
      ...options,
      temporary: false,
      hint: 'check the name of the registry and this machine’s name service',
    });
  }
  const what = errno === '' || message.includes(errno) ? message : `${message} (${errno})`;
  // With TLS 1.3 a server that misses a certificate hangs up, and what it says may be lost.
  const { bytesRead } = (error as { socket?: { bytesRead?: number } } | null)?.socket ?? {};
  const isMute = url.protocol === 'https:' && errno === 'UND_ERR_SOCKET' && bytesRead === 0;
  if (errno === 'ECONNREFUSED') {
    const hint = request.includes('(through the proxy')
      ? 'the proxy does not answer: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY'
      : `nothing listens there: is the registry running, and is ${url.host} its address?`;
    return new RafterError('UNAVAILABLE', `${request}: ${what}`, { ...options, hint });
  }
  const hint = isMute ? { hint: `if this happens always: ${CERTIFICATE_HINT}` } : {};
  return new RafterError('UNAVAILABLE', `${request}: ${what}`, { ...options, ...hint });
}

const CERTIFICATE_HINT = 'the server may want a client certificate: give it with --cert FILE and --key FILE';

function isCertificateWanted(errno: string): boolean {
  return /^ERR_SSL_.*ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|UNKNOWN_CA)$/.test(
    errno,
  );
}

/** True if nobody answers at the address, which waiting a little does not change. */
export function isRefusedConnection({ cause }: RafterError): boolean {
  if (isRafterError(cause)) return isRefusedConnection(cause);
  return ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH'].includes(errnoOf(cause) ?? '');
}

/** True if a TLS connection failed because the server speaks without it. */
export function isPlainTextAnswer(error: unknown): boolean {
  const cause = isRafterError(error) ? error.cause : error;
  return isTlsAgainstPlainText(errnoOf(cause) ?? '', messageOf(cause));
}

function isTlsAgainstPlainText(errno: string, message: string): boolean {
  return (
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'ERR_SSL_HTTP_REQUEST'].includes(
      errno,
    ) ||
    (errno === 'EPROTO' && /wrong version number|packet length too long|http request/i.test(message))
  );
}

/** True for the code of an error that says that a certificate is not trusted. */
export function isCertificateError(errno: string): boolean {
  return (
    errno.startsWith('CERT_') ||
    errno === 'ERR_TLS_CERT_ALTNAME_INVALID' ||
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'].includes(
      errno,
    ) ||
    errno.startsWith('UNABLE_TO_GET_ISSUER_CERT')
  );
}

function codeFor(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'DENIED';
  if (status === 404) return 'NOT_FOUND';
  if (status === 405 || status === 501) return 'UNSUPPORTED';
  if (status === 413) return 'LIMIT_EXCEEDED';
  if (status === 507) return 'NO_SPACE';
  if (status === 416) return 'TRUNCATED';
  return TEMPORARY_STATUSES.has(status) || status > 500 ? 'UNAVAILABLE' : 'FAILED';
}

function hintFor(body: string): string | undefined {
  // Go's HTTP server answers so when it is spoken to without TLS on its TLS port.
  return body.includes('HTTP request to an HTTPS server')
    ? 'the server speaks TLS: leave out --plain-http'
    : undefined;
}

function describe(
  request: string,
  { status, headers, body }: { status: number; headers: IncomingHttpHeaders; body: string },
  errors: RegistryErrorEntry[],
): string {
  const isHtml = /html/i.test(String(headers['content-type'] ?? '')) || /^\s*</.test(body);
  const said =
    errors.length > 0
      ? errors.map(({ code, message }) => (message === '' ? code : `${code}: ${message}`)).join('; ')
      : isHtml
        ? 'an HTML page'
        : plain(body);
  const id = headers['x-request-id'];
  return (
    `${request}: the registry answered ${status}` +
    `${said === '' ? '' : ` (${said.slice(0, MAX_SERVER_TEXT)})`}` +
    limitText(status, headers) +
    `${typeof id === 'string' ? ` [request ${plain(id).slice(0, 80)}]` : ''}`
  );
}

/** What the server says of its limits: seconds to wait, and Docker Hub's counts (`100;w=21600` is 100 in 6 hours). */
function limitText(status: number, headers: IncomingHttpHeaders): string {
  if (status !== 429) return '';
  const shown = [
    ['limit', headers['ratelimit-limit']],
    ['remaining', headers['ratelimit-remaining']],
    ['counted for', headers['docker-ratelimit-source']],
    ['try again after', headers['retry-after']],
  ].flatMap(([what, value]) => (value === undefined ? [] : [`${what} ${plain(String(value)).slice(0, 80)}`]));
  return shown.length === 0 ? '' : `, ${shown.join(', ')}`;
}

/** One line without control characters: a server must not be able to drive the user's terminal. */
export function plain(text: string): string {
  return text
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_SERVER_TEXT);
}
