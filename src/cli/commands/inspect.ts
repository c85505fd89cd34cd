import { type Command, Option } from 'commander';
import type { ImageDescription, IndexDescription } from '../../inspect/describe.js';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';
import { IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { escapeName } from '../names.js';
import { writeStdout } from '../stdout.js';

interface InspectCliOptions extends ImageCliOptions {
  raw?: boolean;
  config?: boolean;
}

/** Prefetch entries that are printed; `--json` has all. */
const SHOWN_PREFETCH = 8;

/** `rafter inspect IMAGE` */
export function defineInspect(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('inspect')
    .description('say what an image is: an index, an ordinary image or a converted one')
    .argument('<image>', IMAGE_FORMS)
    .addOption(new Option('--raw', 'print the bytes of the manifest or index').conflicts('config'))
    .option('--config', 'print the bytes of the configuration')
    .addHelpText(
      'after',
      `
An index is described as such, unless --platform chooses an image of it. Of a converted image its metadata is downloaded,
of any other no layer.

Examples:
  rafter inspect registry.example.com/python:3.12-nydus
  rafter inspect --raw registry.example.com/python:3.12 | jq .layers`,
    );
  addImageOptions(command).action(async (image: string, options: InspectCliOptions) =>
    setExitCode(await withContext(command, (context) => inspect(context, image, options))),
  );
}

async function inspect(
  { output, signal }: CommandContext,
  image: string,
  options: InspectCliOptions,
): Promise<number> {
  const { describe, readRawConfig, readRawManifest } = await import('../../inspect/describe.js');
  return withSource(image, options, async (source) => {
    const { platform } = options;
    if (options.raw) await writeStdout(await readRawManifest(source, { platform, signal }));
    else if (options.config) await writeStdout(await readRawConfig(source, { platform, signal }));
    else {
      const found = await describe(source, { platform, signal });
      output.result(found, found.kind === 'index' ? indexText(found) : imageText(found));
    }
    return EXIT.ok;
  });
}

/** `name: value` lines with the values in one column; rows without a value are left out. */
function fields(rows: [string, string | undefined][]): string {
  return formatTable(
    rows.flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [[`${name}:`, printable(value)]],
    ),
  );
}

/** Texts of an image must not steer the terminal. */
function printable(text: string): string {
  return escapeName(Buffer.from(text)).replaceAll('\\\\', '\\');
}

function indexText({ reference, digest, mediaType, manifests }: IndexDescription): string {
  const rows = manifests.map((entry) => [
    printable(entry.platform ?? '-'),
    entry.digest,
    printable(entry.artifactType ?? entry.mediaType),
  ]);
  return [
    fields([
      ['image', reference],
      ['kind', `index of ${manifests.length} manifests`],
      ['digest', digest],
      ['media type', mediaType],
    ]),
    '',
    formatTable([['PLATFORM', 'DIGEST', 'TYPE'], ...rows]),
  ].join('\n');
}

const kinds = { nydus: 'Nydus image (RAFS)', oci: 'ordinary image', artifact: 'artifact' };

function imageText(image: ImageDescription): string {
  const { config, nydus } = image;
  const list = (words: string[] | undefined) => (words?.length ? JSON.stringify(words) : undefined);
  const layers = image.layers.map(({ digest, size, mediaType }) => [
    digest,
    formatBytes(size),
    printable(mediaType),
  ]);
  return [
    fields([
      ['image', image.reference],
      ['kind', kinds[image.kind]],
      ['digest', image.digest],
      ['media type', image.mediaType],
      ['artifact type', image.artifactType],
      ['platform', image.platform],
      ['created', typeof image.created === 'string' ? image.created : undefined],
      ['size', `${formatBytes(image.size)} in ${image.layers.length} layers`],
      ['entrypoint', list(config?.entrypoint)],
      ['command', list(config?.cmd)],
      ['user', config?.user],
      ['working directory', config?.workingDir],
      ...(config?.env ?? []).map((line, i): [string, string] => [i === 0 ? 'environment' : '', line]),
    ]).replaceAll(/^:/gm, ' '),
    '',
    formatTable([['LAYER', 'SIZE', 'TYPE'], ...layers]),
    ...(nydus ? ['', nydusText(nydus)] : []),
  ].join('\n');
}

function nydusText(nydus: NonNullable<ImageDescription['nydus']>): string {
  if (nydus.problem !== undefined) return fields([['metadata', nydus.problem]]);
  const names = Object.entries(nydus.names ?? {}).map(([type, count]) => `${count} ${type}`);
  const prefetch = nydus.prefetch ?? [];
  const more = prefetch.length > SHOWN_PREFETCH ? ` and ${prefetch.length - SHOWN_PREFETCH} more` : '';
  const blobs = (nydus.blobs ?? []).map((blob) => [
    blob.id.slice(0, 12),
    formatBytes(blob.storedSize),
    formatBytes(blob.decodedSize),
    String(blob.chunks),
    blob.compressor,
    blob.features.join(' '),
  ]);
  return [
    fields([
      ['format', `RAFS v${nydus.fsVersion}`],
      ['chunk size', String(nydus.chunkSize)],
      ['compressor', nydus.compressor],
      ['digests', nydus.digester],
      ['metadata', formatBytes(nydus.bootstrapSize ?? 0)],
      ['names', names.join(', ')],
      ['content', `${formatBytes(nydus.contentSize ?? 0)} in files, ${nydus.chunks} chunks`],
      ['start-up pack', nydus.startupPack && formatBytes(nydus.startupPack.size)],
      ['prefetch', prefetch.slice(0, SHOWN_PREFETCH).join(' ') + more],
      ['made of', nydus.source?.reference ?? nydus.source?.digest],
    ]),
    '',
    formatTable([['BLOB', 'STORED', 'DECODED', 'CHUNKS', 'COMPRESSOR', 'FEATURES'], ...blobs]),
  ].join('\n');
}
