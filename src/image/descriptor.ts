import { createHash, type Hash } from 'node:crypto';
import * as v from 'valibot';
import { RafterError } from '../errors.js';
import { isDigest } from './digest.js';

/** `sha256:` and 64 hex digits, or `sha512:` and 128. What rafter names itself has a SHA-256. */
export type Digest = string;

/** What machine an image is for (OCI image spec, image index). */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string | undefined;
  'os.version'?: string | undefined;
  'os.features'?: string[] | undefined;
}

/** Points at content by digest and size (OCI image spec, content descriptor). Unknown members are kept. */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** Bytes of the content. */
  size: number;
  annotations?: Record<string, string> | undefined;
  platform?: Platform | undefined;
  artifactType?: string | undefined;
  urls?: string[] | undefined;
  /** The content itself in base64, for small content. */
  data?: string | undefined;
}

/** Returns `text` if it is a digest; otherwise MALFORMED, naming `what` it was to be. */
export function parseDigest(text: string, what: string): Digest {
  if (isDigest(text)) return text;
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  throw new RafterError('MALFORMED', `${what}: ${JSON.stringify(shown)} is not a digest`, {
    hint: 'a digest is sha256: and 64 lower-case hexadecimal digits, or sha512: and 128',
  });
}

/** The hexadecimal part of a digest: 64 digits for SHA-256. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** The algorithm word of a digest, `sha256` or `sha512`. */
export function algorithmOf(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** A running hash of the algorithm that `digest` was made with. */
export function hasherFor(digest: Digest): Hash {
  return createHash(algorithmOf(digest));
}

/** Throws DIGEST_MISMATCH or TRUNCATED unless `bytes` are what `expected` names. `name` says whose bytes. */
export function verifyBytes(
  bytes: Buffer,
  expected: Pick<Descriptor, 'digest' | 'size'>,
  name: string,
): void {
  if (bytes.length < expected.size) {
    throw new RafterError('TRUNCATED', `${name}: ${bytes.length} bytes instead of ${expected.size}`);
  }
  if (bytes.length > expected.size) {
    throw new RafterError('DIGEST_MISMATCH', `${name}: ${bytes.length} bytes instead of ${expected.size}`);
  }
  verifyDigest(bytes, expected.digest, name);
}

/** Throws DIGEST_MISMATCH unless the hash of `bytes` is `expected`. */
export function verifyDigest(bytes: Buffer, expected: Digest, name: string): void {
  checkHex(hasherFor(expected).update(bytes).digest('hex'), expected, name);
}

/** Throws DIGEST_MISMATCH unless `hex`, the hash of the bytes that `name` calls, is that of `expected`. */
export function checkHex(hex: string, expected: Digest, name: string): void {
  if (hex === hexOf(expected)) return;
  throw new RafterError(
    'DIGEST_MISMATCH',
    `${name}: bytes have digest ${algorithmOf(expected)}:${hex}, expected ${expected}`,
  );
}

/** Go programs write `null` for an empty list or map; it means the same as an absent member. */
const absent = <T extends v.GenericSchema>(schema: T) => v.optional(v.nullable(schema));

const platformSchema = v.looseObject({
  os: v.optional(v.string(), ''),
  architecture: v.optional(v.string(), ''),
  variant: v.optional(v.string()),
  'os.version': v.optional(v.string()),
  'os.features': v.optional(v.array(v.string())),
});

/** Checks a descriptor's members; unknown members pass through. */
export const descriptorSchema = v.pipe(
  v.looseObject({
    mediaType: v.pipe(v.string(), v.minLength(1)),
    digest: v.pipe(v.string(), v.check(isDigest, 'is not a sha256 or sha512 digest')),
    size: v.pipe(v.number(), v.safeInteger('is not a whole number'), v.minValue(0, 'is negative')),
    annotations: absent(v.record(v.string(), v.string())),
    platform: absent(platformSchema),
    artifactType: v.optional(v.string()),
    urls: absent(v.array(v.string())),
    data: v.optional(v.string()),
  }),
  v.transform((d) => dropNulls(d) as unknown as Descriptor),
);

/** A shallow copy of `object` without the members whose value is null or undefined. */
function dropNulls<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], null> } {
  const kept = Object.entries(object).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]: Exclude<T[K], null> };
}
