import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ConvertSummary } from '../../convert/summary.js';
import { RafterError } from '../../errors.js';
import { whyOthersCanWrite } from '../../os/private-directory.js';
import { addCommonOptions, addRegistryOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatDuration, formatImage } from '../format.js';
import { IMAGE_FORMS, NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { createProgress } from '../progress.js';
import { repeatable } from '../repeatable.js';
import { otherOptions, sideOptions, type TwoSidedOptions } from '../side-options.js';
import { compileRarely, keepHeapSmall } from '../v8-flags.js';

interface ConvertCliOptions extends TwoSidedOptions {
  platform?: string[];
  allPlatforms?: boolean;
  mergeIndex: boolean;
  withReferrer: boolean;
  cache: boolean;
  compressor: 'zstd' | 'lz4' | 'none';
  level?: number;
  chunkSize?: number;
  batchSize?: number;
  prefetch: string[] | false;
  chunkDict: string[];
  jobs?: number;
  lossy: boolean;
}

/** `rafter convert SOURCE TARGET` */
export function defineConvert(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('convert')
    .description('make a lazily loadable image of an ordinary OCI image')
    .argument('<source>', IMAGE_FORMS)
    .argument('<target>', NYDUS_IMAGE_FORMS)
    .option(
      '--platform <os/arch>',
      'which image of an index, may be repeated (default: this machine)',
      repeatable,
    )
    .addOption(new Option('--all-platforms', 'every image for Linux of an index').conflicts('platform'))
    .option('--merge-index', 'list the ordinary images too, for clients that do not know Nydus', false)
    .option('--with-referrer', 'name the source manifest as subject, so that it leads to the image', false)
    .option('--compressor <name>', 'zstd, lz4 or none', parseCompressor, 'zstd')
    .option('--level <n>', 'zstd level (default: 5 for text, 3 for the rest)', parseNumber)
    .option('--chunk-size <bytes>', 'power of two from 4096 to 8 MiB', parseSize)
    .option('--batch-size <bytes>', 'small files share a unit of about this size; 0: never', parseSize)
    .option(
      '--prefetch <pattern>',
      'path or glob of files and directories that readers should load first, may be repeated',
      // In front of it may stand --no-prefetch.
      (pattern, before: string[] | false) => repeatable(pattern, before || []),
      [],
    )
    .option('--no-prefetch', 'do not find out either what a container of the image reads first')
    .option(
      '--chunk-dict <image>',
      'Nydus image to share chunks with instead of storing them again, may be repeated',
      repeatable,
      [],
    )
    .option('--lossy', 'leave out, with a warning, what the format cannot hold', false)
    .option('--no-cache', 'convert every layer, also what was converted before with the same options')
    .option('--jobs <n>', 'worker threads (default: one per core)', parseNumber)
    .option('--src-creds <user:password>', 'credentials for the registry of SOURCE')
    .option('--dest-creds <user:password>', 'credentials for the registry of TARGET')
    .addHelpText(
      'after',
      `
Examples:
  rafter convert docker.io/library/python:3.12 registry.example.com/python:3.12-nydus
  rafter convert oci:images:python oci:images:python-nydus
  rafter convert --chunk-dict registry.example.com/app:v1-nydus \\
    registry.example.com/app:v2 registry.example.com/app:v2-nydus
  rafter convert --prefetch /srv/app --prefetch '/usr/lib/**/*.so.*' oci:images:app oci:images:app-nydus
  rafter convert --all-platforms --merge-index registry.example.com/python:3.12 registry.example.com/python:3.12`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (source: string, target: string, options: ConvertCliOptions) =>
      setExitCode(await withContext(command, (context) => convert(context, source, target, options))),
  );
}

async function convert(
  context: CommandContext,
  sourceText: string,
  targetText: string,
  options: ConvertCliOptions,
): Promise<number> {
  keepHeapSmall();
  compileRarely();
  const [{ convertImage }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../../convert/convert.js'),
    import('../../transports/open.js'),
    import('../../image/reference.js'),
  ]);
  const { output, signal } = context;
  const access = sideOptions(options);
  const sides = { source: parseReference(sourceText), target: parseReference(targetText) };
  if (!options.mergeIndex && isDeepStrictEqual(sides.source, sides.target))
    throw new RafterError('USAGE', `${sourceText}: source and target are the same image`, {
      hint: 'give the target a tag of its own, or --merge-index, which keeps both images under one tag',
    });
  const others = options.chunkDict.map(parseReference);
  const source = openSource(sides.source, access.source);
  const target = openTarget(sides.target, access.target);
  const dictionaries = others.map((other) => openSource(other, otherOptions(options, other, sides)));
  const progress = createProgress({ quiet: output.quiet || output.json });
  try {
    const startedAt = performance.now();
    const summary = await convertImage({
      source,
      target,
      sourceReference: sourceText,
      ...(options.platform !== undefined && { platforms: options.platform }),
      ...(options.allPlatforms && { platforms: 'all' as const }),
      mergeIndex: options.mergeIndex,
      withReferrer: options.withReferrer,
      dictionaries,
      ...(options.cache && (await trustedCache(context))),
      options: {
        compressor: options.compressor === 'lz4' ? 'lz4_block' : options.compressor,
        ...(options.level !== undefined && { level: options.level }),
        ...(options.chunkSize !== undefined && { chunkSize: options.chunkSize }),
        ...(options.batchSize !== undefined && { batchSize: options.batchSize }),
        ...(options.jobs !== undefined && { jobs: options.jobs }),
        prefetch: options.prefetch || [],
        findStartup: options.prefetch !== false,
        lossy: options.lossy,
        signal,
      },
      onProgress: (event) => {
        if (event.kind === 'finished') progress.finish(event.label);
        else progress.update(event.label, event.done, event.total);
      },
    });
    progress.close();
    for (const warning of summary.warnings) output.warn(warning);
    const seconds = formatDuration(performance.now() - startedAt);
    const text = summaryText(summary, { seconds, hasDictionary: dictionaries.length > 0 });
    output.result(summary, `${formatImage(targetText, summary.target.digest)}\n${text}`);
    return EXIT.ok;
  } finally {
    progress.close();
    await Promise.all([source, ...dictionaries].map((each) => each.close()));
  }
}

function summaryText(
  { images, source, target, dictionary, startup, reusedLayers }: ConvertSummary,
  { seconds, hasDictionary }: { seconds: string; hasDictionary: boolean },
): string {
  const ownBytes = target.bytes - dictionary.blobBytes;
  const count = images.length > 1 ? `${images.length} images ` : '';
  const files = startup.files === 1 ? 'file' : 'files';
  return [
    `${count}converted in ${seconds}: ${formatBytes(source.bytes)} became ${formatBytes(ownBytes)} ` +
      `(${(ownBytes / source.bytes).toFixed(2)} of the source)`,
    hasDictionary && sharedText(dictionary),
    startup.files > 0 && `${startup.files} ${files} of its start (${formatBytes(startup.bytes)}) listed`,
    reusedLayers > 0 && `${reusedLayers} layers reused`,
  ]
    .filter((part) => part !== false)
    .join(', ');
}

function sharedText({ chunks, bytes, blobs, blobBytes }: ConvertSummary['dictionary']): string {
  return chunks === 0
    ? 'nothing shared with the chunk dictionary'
    : `besides ${blobs} blobs of the chunk dictionary (${formatBytes(blobBytes)}), which have ${chunks} of its chunks ` +
        `(${formatBytes(bytes)} unpacked)`;
}

function parseCompressor(text: string): string {
  if (['zstd', 'lz4', 'none'].includes(text)) return text;
  throw new InvalidArgumentError('It must be zstd, lz4 or none.');
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

/** A size in bytes, decimal, hexadecimal (0x100000) or with a binary suffix (64K, 1M). */
function parseSize(text: string): number {
  const match = /^(0x[0-9a-f]+|\d+)([km]?)(i?b)?$/i.exec(text);
  if (!match)
    throw new InvalidArgumentError('It must be a number of bytes, such as 1048576, 0x100000 or 1M.');
  const factor = { '': 1, k: 1 << 10, m: 1 << 20 }[match[2]!.toLowerCase() as '' | 'k' | 'm'];
  return Number(match[1]) * factor;
}

/** Whoever can write to the cache could put files into the images of others, so only that of this user or of root is used. */
async function trustedCache({ options, output }: CommandContext): Promise<{ cacheDir?: string }> {
  const reason = whyOthersCanWrite(options.dataRoot, [process.geteuid?.() ?? 0, 0]);
  if (reason === undefined) return { cacheDir: join(options.dataRoot, 'convert-cache') };
  output.warn(`nothing is taken from or kept for other conversions: ${reason}`);
  return {};
}
