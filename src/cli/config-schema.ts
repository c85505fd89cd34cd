import * as v from 'valibot';

const directory = v.pipe(v.string(), v.regex(/^\//, 'It must be an absolute path.'));
const SIZE_MESSAGE = 'It must be a number of bytes, or one with k, M, G or T, as in 20G.';
const size = v.union(
  [
    v.pipe(v.number(), v.integer(SIZE_MESSAGE), v.minValue(0, SIZE_MESSAGE)),
    v.pipe(v.string(), v.regex(/^\d{1,15}(\.\d{1,3})? ?[kKmMgGtT]?i?[bB]?$/, SIZE_MESSAGE)),
  ],
  SIZE_MESSAGE,
);
const positive = v.pipe(v.number(), v.integer(), v.minValue(1));
const host = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9.:[\]-]+$/, 'It must be HOST or HOST:PORT, without a scheme.'),
);
const PEER_MESSAGE = 'It must be http://HOST:PORT or off, or lines HOST: http://HOST:PORT.';
const peer = v.pipe(
  v.string(),
  v.regex(/^(https?:\/\/[^\s/?#@]+\/?|off)$/, 'It must be http://HOST:PORT or off.'),
);
const described = <Schema extends v.GenericSchema>(schema: Schema, text: string) =>
  v.optional(v.pipe(schema, v.description(text)));

/** The configuration file. Its JSON schema for editors is `docs/config.schema.json`. */
export const configSchema = v.strictObject({
  'data-root': described(directory, 'where images, caches and containers are kept'),
  'run-dir': described(directory, 'where sockets and state of the running daemon are'),
  'cache-size': described(size, 'limit of the cache on disk, as in 20G'),
  driver: described(
    v.picklist(['auto', 'erofs', 'fuse']),
    'what serves a mounted tree: the kernel (erofs) or the daemon (fuse)',
  ),
  backing: described(
    v.picklist(['auto', 'file', 'loop']),
    'what the driver erofs has the kernel read from: files (Linux 6.12) or loop devices of them',
  ),
  complete: described(
    v.picklist(['off', 'after-ready', 'always']),
    'when mounts fetch in the background what nobody has read',
  ),
  'complete-rate': described(size, 'bytes a second that this may take, as in 5M'),
  'read-timeout': described(
    v.pipe(v.number(), v.minValue(1)),
    'seconds after which a read whose data cannot be had ends with an error',
  ),
  p2p: described(
    v.union([peer, v.record(host, peer)], PEER_MESSAGE),
    'the Dragonfly peer (proxy port of dfdaemon) that mounts read blobs through, as http://127.0.0.1:4001, or off; or one for each registry, as HOST or HOST:PORT, and for the others, as default',
  ),
  'plain-http': described(v.array(host), 'registries that are spoken to without TLS, as HOST or HOST:PORT'),
  convert: described(
    v.strictObject({
      compressor: described(v.picklist(['zstd', 'lz4', 'none']), 'how chunks are compressed'),
      level: described(positive, 'zstd level'),
      'chunk-size': described(size, 'bytes of a chunk, a power of two from 4096 to 8 MiB'),
      'batch-size': described(size, 'small files share a unit of about this size; 0: never'),
      jobs: described(positive, 'worker threads'),
    }),
    'defaults of rafter convert',
  ),
});

export type Config = v.InferOutput<typeof configSchema>;

/** What the schema says of the values that a file holds. */
export function checkConfig(values: unknown): v.SafeParseResult<typeof configSchema> {
  return v.safeParse(configSchema, values);
}

/** One value that can be configured. */
export interface Setting {
  /** Words in the file, outermost first. */
  path: readonly string[];
  /** The command that it is for; undefined: every command that has such an option. */
  command?: string;
  /** Long option, without dashes, that has the same meaning. */
  option: string;
  env?: string;
  /** What is in force if nobody says anything; undefined: it depends on the machine. */
  initial?: string;
}

/** Everything that the file may set. */
export const SETTINGS: readonly Setting[] = [
  { path: ['data-root'], option: 'data-root', env: 'RAFTER_DATA_ROOT', initial: '/var/lib/rafter' },
  { path: ['run-dir'], option: 'run-dir', env: 'RAFTER_RUN_DIR', initial: '/run/rafter' },
  { path: ['cache-size'], option: 'cache-size', env: 'RAFTER_CACHE_SIZE' },
  { path: ['driver'], option: 'driver', initial: 'auto' },
  { path: ['backing'], option: 'backing', initial: 'auto' },
  { path: ['complete'], option: 'complete', initial: 'off' },
  { path: ['complete-rate'], option: 'complete-rate' },
  { path: ['read-timeout'], option: 'read-timeout', initial: '120' },
  { path: ['p2p'], option: 'p2p', env: 'RAFTER_P2P' },
  { path: ['plain-http'], option: 'plain-http' },
  { path: ['convert', 'compressor'], command: 'convert', option: 'compressor', initial: 'zstd' },
  { path: ['convert', 'level'], command: 'convert', option: 'level' },
  { path: ['convert', 'chunk-size'], command: 'convert', option: 'chunk-size' },
  { path: ['convert', 'batch-size'], command: 'convert', option: 'batch-size' },
  { path: ['convert', 'jobs'], command: 'convert', option: 'jobs' },
];
