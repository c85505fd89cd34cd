import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { addCommonOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';
import { parseByteSize } from '../size.js';

type SetExitCode = (code: number) => void;

/** `rafter cache ls | verify | prune | pin | unpin` */
export function defineCache(program: Command, setExitCode: SetExitCode): void {
  const cache = program.command('cache').description('the data of images that is on the local disk');
  const define = (command: Command, body: (context: CommandContext) => Promise<number>) =>
    addCommonOptions(command).action(async () => setExitCode(await withContext(command, body)));
  define(
    cache
      .command('ls')
      .description('list the blobs, least recently used first')
      .addHelpText('after', '\nExample:\n  rafter cache ls'),
    list,
  );
  define(
    cache
      .command('verify')
      .description('read everything again; what is damaged is fetched again when it is used')
      .addHelpText(
        'after',
        '\nThe exit code is 5 if anything is damaged.\n\nExample:\n  rafter cache verify',
      ),
    verify,
  );
  definePrune(cache, setExitCode);
  definePin(cache, setExitCode, true);
  definePin(cache, setExitCode, false);
}

async function list({ options, output, signal }: CommandContext): Promise<number> {
  const { withCacheService } = await import('../../mount/client/cache-client.js');
  const listing = await withCacheService({ ...options, signal }, (service) => service.list());
  const rows = listing.blobs.map((blob) => [
    blob.name.slice(0, 12),
    formatBytes(blob.size),
    formatBytes(blob.localBytes),
    blob.damaged ? 'damaged' : blob.complete ? 'complete' : `${blob.localChunks}/${blob.chunks}`,
    blob.lastUsed.slice(0, 19),
    [...(blob.pinned ? ['pinned'] : []), ...(blob.mounts > 0 ? [`${blob.mounts} mounts`] : [])].join(', '),
    blob.images.join(', '),
  ]);
  const head = ['BLOB', 'SIZE', 'LOCAL', 'CHUNKS', 'LAST USE', 'KEPT', 'IMAGES'];
  const total = `${listing.blobs.length} blobs, ${formatBytes(listing.localBytes)} on disk`;
  output.result(listing, `${formatTable([head, ...rows])}\n${total}`);
  return EXIT.ok;
}

async function verify({ options, output, signal }: CommandContext): Promise<number> {
  const { withCacheService } = await import('../../mount/client/cache-client.js');
  const found = await withCacheService({ ...options, signal }, (service) => service.verify(signal));
  const { chunks, bytes, damaged, damagedBlobs } = found;
  const ending =
    damaged === 0 ? 'all right' : `${damaged} damaged and dropped, in ${damagedBlobs.join(', ')}`;
  output.result(found, `${chunks} chunks (${formatBytes(bytes)}) read: ${ending}`);
  return damagedBlobs.length === 0 ? EXIT.ok : EXIT.damaged;
}

interface PruneOptions {
  all?: boolean;
  olderThan?: number;
  maxSize?: number;
}

function definePrune(cache: Command, setExitCode: SetExitCode): void {
  const command = cache
    .command('prune')
    .description('remove what no image needs; what is mounted or pinned always stays')
    .option('-a, --all', 'everything that is not mounted')
    .option('--older-than <time>', 'also what was not used for so long: 90m, 12h, 7d', parseDuration)
    .option('--max-size <size>', 'also the least recently used, until no more is left: 10G', parseByteSize)
    .addHelpText(
      'after',
      `
Examples:
  rafter cache prune
  rafter cache prune --older-than 7d --max-size 20G`,
    );
  addCommonOptions(command).action(async ({ all, olderThan, maxSize }: PruneOptions) =>
    setExitCode(
      await withContext(command, async ({ options, output, signal }) => {
        const { withCacheService } = await import('../../mount/client/cache-client.js');
        const request = {
          ...(all && { all }),
          ...(olderThan !== undefined && { olderThan }),
          ...(maxSize !== undefined && { maxBytes: maxSize }),
        };
        const pruned = await withCacheService({ ...options, signal }, (service) => service.prune(request));
        const { blobs, files, bytes } = pruned;
        output.result(pruned, `${blobs.length} blobs and ${files} files removed: ${formatBytes(bytes)}`);
        return EXIT.ok;
      }),
    ),
  );
}

function definePin(cache: Command, setExitCode: SetExitCode, pinned: boolean): void {
  const command = cache
    .command(pinned ? 'pin' : 'unpin')
    .description(pinned ? 'keep the data of an image whatever is pruned' : 'take a pin back')
    .argument('<image>', 'an image that was mounted here, or the id of a blob')
    .addHelpText(
      'after',
      `
Example:
  rafter cache ${pinned ? 'pin' : 'unpin'} registry.example.com/python:3.12-nydus`,
    );
  addCommonOptions(command).action(async (image: string) =>
    setExitCode(
      await withContext(command, async ({ options, output, signal }) => {
        const { withCacheService } = await import('../../mount/client/cache-client.js');
        const request = { target: await canonicalTarget(image), pinned };
        const pins = await withCacheService({ ...options, signal }, (service) => service.pin(request));
        output.result(pins, `${pins.blobs.length} blobs ${pinned ? 'pinned' : 'not pinned any more'}`);
        return EXIT.ok;
      }),
    ),
  );
}

/** What a blob id looks like that is not taken for a reference. */
const BLOB_ID = /^[0-9a-f]{64}$/;

/** A reference as the daemon knows it: with an absolute path if it has one. */
async function canonicalTarget(text: string): Promise<string> {
  if (BLOB_ID.test(text)) return text;
  const { parseReference, formatReference } = await import('../../image/reference.js');
  const reference = parseReference(text);
  if (reference.transport === 'registry') return formatReference(reference);
  return formatReference({ ...reference, path: resolve(reference.path) });
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds of `90m`, `12h`, `7d`. */
function parseDuration(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? [];
  if (digits === undefined)
    throw new InvalidArgumentError('It must be a number with s, m, h, d or w, as in 12h.');
  return Number(digits) * SECONDS[unit!]!;
}
