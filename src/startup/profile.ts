import * as v from 'valibot';
import { RafterError } from '../errors.js';
import { checkShape, parseJsonObject } from '../image/json.js';

/** Chunks of one blob that follow one another. */
export interface ChunkRange {
  /** Position in `StartupProfile.blobs`. */
  blob: number;
  /** Index of the first chunk, in the order of the blob's chunk map. */
  first: number;
  count: number;
}

/**
 * Which chunks of an image its starts need, in the order of their first use. It brings none of their data: what it names is fetched
 * from the image's own blobs and verified as always, so whoever made it can at most make a mount fetch these earlier.
 */
export interface StartupProfile {
  /** Blob ids. */
  blobs: string[];
  chunks: ChunkRange[];
}

/** Most bytes of a profile. */
export const MAX_PROFILE_SIZE = 1 << 20;
/** Most ranges of chunks in one. */
export const MAX_PROFILE_RANGES = 1 << 16;
/** Most blobs that one speaks of. */
export const MAX_PROFILE_BLOBS = 4096;

/** The version of the format that this program writes and reads. */
const VERSION = 1;

const index = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

const profileSchema = v.object({
  rafterStartupProfile: v.literal(VERSION),
  blobs: v.pipe(v.array(v.pipe(v.string(), v.regex(/^[0-9A-Za-z]{1,64}$/))), v.maxLength(MAX_PROFILE_BLOBS)),
  chunks: v.pipe(v.array(v.strictTuple([index, index, count])), v.maxLength(MAX_PROFILE_RANGES)),
});

/**
 * `profile` as a file: one JSON object, `{"rafterStartupProfile":1,"blobs":[ID,...],"chunks":[[BLOB,FIRST,COUNT],...]}`. Throws
 * LIMIT_EXCEEDED for one that `parseProfile` would not read.
 */
export function formatProfile({ blobs, chunks }: StartupProfile): Buffer {
  const bytes = Buffer.from(
    JSON.stringify({
      rafterStartupProfile: VERSION,
      blobs,
      chunks: chunks.map(({ blob, first, count: length }) => [blob, first, length]),
    }),
  );
  const tooMany = (what: string) =>
    new RafterError('LIMIT_EXCEEDED', `a start-up profile of more than ${what}`);
  if (blobs.length > MAX_PROFILE_BLOBS) throw tooMany(`${MAX_PROFILE_BLOBS} blobs`);
  if (chunks.length > MAX_PROFILE_RANGES) throw tooMany(`${MAX_PROFILE_RANGES} ranges of chunks`);
  if (bytes.length > MAX_PROFILE_SIZE) throw tooMany(`${MAX_PROFILE_SIZE} bytes`);
  return bytes;
}

/**
 * Reads what `formatProfile` wrote; `name` says in messages what was read. Members that are not known are passed over. LIMIT_EXCEEDED above
 * MAX_PROFILE_SIZE bytes, UNSUPPORTED for another version, MALFORMED naming the field for what does not fit.
 */
export function parseProfile(bytes: Buffer, name: string): StartupProfile {
  const value = parseJsonObject(bytes, MAX_PROFILE_SIZE, name);
  const { rafterStartupProfile: version } = value;
  if (typeof version === 'number' && version !== VERSION)
    throw new RafterError('UNSUPPORTED', `${name}: version ${version}, this program reads ${VERSION}`);
  const { blobs, chunks } = checkShape(profileSchema, value, name);
  return {
    blobs,
    chunks: chunks.map(([blob, first, length], i) => {
      if (blob >= blobs.length)
        throw new RafterError('MALFORMED', `${name}: chunks.${i}: blob ${blob} of ${blobs.length}`);
      return { blob, first, count: length };
    }),
  };
}
