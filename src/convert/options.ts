import { availableParallelism } from 'node:os';
import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { MAX_BATCH_SIZE, MIN_CHUNK_SIZE } from '../rafs/limits.js';
import { MAX_PATTERN_LENGTH } from './prefetch-patterns.js';

/** Nydus' own default, bytes. */
const DEFAULT_CHUNK_SIZE = 1 << 20;
/** Decoded bytes that small files share one compressed unit up to: as much as one chunk, so that no read fetches more than before. */
const DEFAULT_BATCH_SIZE = 1 << 20;
/** A chunk info of version 2 has 24 bits for the stored size, so a raw chunk of 16 MiB has no place in it. */
const MAX_WRITTEN_CHUNK_SIZE = 8 << 20;
const MIN_BATCH_SIZE = MIN_CHUNK_SIZE;
const ZSTD_LEVELS = { min: 1, max: 22 };

export interface ConvertOptions {
  /** Files are cut into pieces of so many bytes: a power of two from 4 KiB to 8 MiB. Default 1 MiB. */
  chunkSize?: number;
  /** Files of one piece share units of so many decoded bytes: 4 KiB to 16 MiB, 0 for never. Default 1 MiB. */
  batchSize?: number;
  /** Default zstd. */
  compressor?: Compressor;
  /** For zstd, 1 to 22; beyond 9 conversion gets very slow. Default: 5 for text, 3 for the rest. */
  level?: number;
  /** Absolute paths or globs (see `expandPatterns`), most important first, that readers should load ahead of need. Default none. */
  prefetch?: string[];
  /** Lists, behind those, what a container of the image will read first, as its configuration and files tell. Default true. */
  findStartup?: boolean;
  /** Threads that compress. Default one per core. The result does not depend on it. */
  jobs?: number;
  /** Leaves out, with a warning, what the format cannot hold, instead of failing. Default false. */
  lossy?: boolean;
  signal?: AbortSignal;
}

/** Options with their defaults, checked. */
export interface CheckedOptions {
  chunkSize: number;
  batchSize: number;
  compressor: Compressor;
  digester: DigestAlgorithm;
  /** Undefined: by the bytes of each unit. */
  level: number | undefined;
  prefetch: string[];
  findStartup: boolean;
  jobs: number;
  lossy: boolean;
  signal: AbortSignal | undefined;
}

/** Fills in defaults. USAGE, naming the option, for values that cannot be. */
export function checkOptions(options: ConvertOptions): CheckedOptions {
  const {
    chunkSize = DEFAULT_CHUNK_SIZE,
    batchSize = DEFAULT_BATCH_SIZE,
    compressor = 'zstd',
    level,
    prefetch = [],
    findStartup = true,
    jobs = availableParallelism(),
    lossy = false,
    signal,
  } = options;
  if (!inRange(chunkSize, MIN_CHUNK_SIZE, MAX_WRITTEN_CHUNK_SIZE) || (chunkSize & (chunkSize - 1)) !== 0) {
    throw usage(
      'chunk size',
      chunkSize,
      `a power of two from ${MIN_CHUNK_SIZE} to ${MAX_WRITTEN_CHUNK_SIZE}`,
    );
  }
  if (batchSize !== 0 && !inRange(batchSize, MIN_BATCH_SIZE, MAX_BATCH_SIZE)) {
    throw usage('batch size', batchSize, `0, or from ${MIN_BATCH_SIZE} to ${MAX_BATCH_SIZE}`);
  }
  if (compressor === 'gzip') {
    throw usage('compressor', compressor, 'zstd, lz4_block or none: gzip is only read');
  }
  if (compressor === 'zstd' && level !== undefined && !inRange(level, ZSTD_LEVELS.min, ZSTD_LEVELS.max)) {
    throw usage('level', level, `from ${ZSTD_LEVELS.min} to ${ZSTD_LEVELS.max}`);
  }
  if (!inRange(jobs, 1, 1024)) throw usage('number of jobs', jobs, 'from 1 to 1024');
  const relative = prefetch.find((path) => !path.startsWith('/'));
  if (relative !== undefined) throw usage('prefetch path', JSON.stringify(relative), 'absolute');
  const long = prefetch.find(({ length }) => length > MAX_PATTERN_LENGTH);
  if (long !== undefined)
    throw usage(
      'prefetch pattern',
      JSON.stringify(`${long.slice(0, 40)}...`),
      `at most ${MAX_PATTERN_LENGTH} characters`,
    );
  return {
    chunkSize,
    batchSize,
    compressor,
    digester: 'blake3',
    level,
    prefetch,
    findStartup,
    jobs,
    lossy,
    signal,
  };
}

function inRange(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}

function usage(option: string, value: unknown, expected: string): RafterError {
  return new RafterError('USAGE', `${option} ${value}: it must be ${expected}`, {
    hint: 'rafter convert --help says what each option is for',
  });
}
