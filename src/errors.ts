/**
 * What went wrong, as a stable word that callers and scripts may match.
 * `cli/exit-codes.ts` maps each to a documented exit code.
 */
export type ErrorCode =
  | 'FAILED' // no better word
  | 'USAGE' // the caller asked for something that makes no sense
  | 'NOT_FOUND' // an image, blob, file or program is not there
  | 'DENIED' // credentials or rights are missing or refused
  | 'MALFORMED' // bytes do not follow their format
  | 'DIGEST_MISMATCH' // bytes do not match the digest or size that names them
  | 'TRUNCATED' // bytes end too early
  | 'LIMIT_EXCEEDED' // an outside input is larger than a named limit
  | 'UNSUPPORTED' // well-formed, but this program or this machine cannot do it
  | 'UNAVAILABLE' // a server or the network did not answer as it should; trying again may help
  | 'BUSY' // something else uses the mount point, socket or file
  | 'NO_SPACE' // the disk or a quota is full
  | 'INTERRUPTED'; // cancelled by the user

export interface RafterErrorOptions {
  cause?: unknown;
  /** One sentence that says what the user can do about it. */
  hint?: string;
  /** True when the same operation may succeed if it is tried again without any change. */
  temporary?: boolean;
}

/**
 * The one error of this program. `message` is one line that names what failed and where (file, offset, field, URL
 * without secrets). Secrets in URLs and authorization headers are removed here, so no caller can forget it.
 */
export class RafterError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly temporary: boolean;

  constructor(code: ErrorCode, message: string, options: RafterErrorOptions = {}) {
    super(redact(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RafterError';
    this.code = code;
    this.hint = options.hint === undefined ? undefined : redact(options.hint);
    this.temporary = options.temporary ?? code === 'UNAVAILABLE';
  }
}

/** True if `error` is a RafterError, with one of `codes` if any are given. */
export function isRafterError(error: unknown, ...codes: ErrorCode[]): error is RafterError {
  return error instanceof RafterError && (codes.length === 0 || codes.includes(error.code));
}

/** The message of whatever was thrown, on one line, without secrets. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return redact(text.replace(/\s*\n\s*/g, ' '));
}

/** The `code` of a Node.js system error (`ENOENT`, `ECONNREFUSED`, ...), if there is one. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Fewest characters of a secret that is looked for: shorter ones are found in any sentence. */
const MIN_SECRET_LENGTH = 6;
/** Most secrets that are looked for; the oldest give way, as tokens that have expired do no harm. */
const MAX_SECRETS = 512;
const secrets = new Set<string>();

/**
 * From now on no message of this process shows any of `texts`, as they are or encoded for a URL: passwords and tokens, which a
 * server may repeat in its answers.
 */
export function hideSecret(...texts: string[]): void {
  for (const text of texts.flatMap((secret) => [secret, encodeURIComponent(secret)])) {
    if (text.length < MIN_SECRET_LENGTH) continue;
    secrets.delete(text);
    secrets.add(text);
    if (secrets.size > MAX_SECRETS) secrets.delete(secrets.values().next().value!);
  }
}

function withoutSecrets(text: string): string {
  let rest = text;
  for (const secret of secrets) rest = rest.replaceAll(secret, '…');
  return rest;
}

/**
 * Control characters and line ends of Unicode as `\u` escapes, as JSON writes them: a terminal must not obey what names from outside
 * hold.
 */
export function escapeControls(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Removes secrets that are known (see `hideSecret`), user names and passwords of URLs, query strings of URLs and authorization
 * headers, and escapes control characters.
 */
function redact(text: string): string {
  return escapeControls(withoutSecrets(text))
    .replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, '$1')
    .replace(/\b(https?:\/\/[^\s?"']+)\?[^\s"']*/gi, '$1?…')
    .replace(/\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}/gi, '$1 …');
}
