import type { Command } from 'commander';
import { addCommonOptions, addRegistryOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatDuration, formatImage } from '../format.js';
import { IMAGE_FORMS } from '../image-forms.js';
import { createProgress } from '../progress.js';
import { sideOptions, type TwoSidedOptions } from '../side-options.js';
import { collectAtOnce, compileRarely } from '../v8-flags.js';

interface CopyCliOptions extends TwoSidedOptions {
  platform?: string;
  referrers: boolean;
}

/** `rafter copy SOURCE TARGET` */
export function defineCopy(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('copy')
    .description('copy an image of any kind: push, pull, or from registry to registry')
    .argument('<source>', IMAGE_FORMS)
    .argument('<target>', IMAGE_FORMS)
    .option('--platform <os/arch>', 'only the image of an index for this platform (default: everything)')
    .option('--referrers', 'also all that refers to it: signatures, lists of packages, attestations', false)
    .option('--src-creds <user:password>', 'credentials for the registry of SOURCE')
    .option('--dest-creds <user:password>', 'credentials for the registry of TARGET')
    .addHelpText(
      'after',
      `
A start-up profile that is attached to a Nydus image always goes along; of several the latest.

Examples:
  rafter copy oci:images:python-nydus registry.example.com/python:nydus     (push)
  rafter copy registry.example.com/python:nydus oci:images:python-nydus     (pull)
  rafter copy --platform linux/amd64 docker.io/library/python:3.12 docker-archive:python.tar:python:3.12
  rafter copy --referrers registry.example.com/python:nydus mirror.example.com/python:nydus`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (source: string, target: string, options: CopyCliOptions) =>
      setExitCode(await withContext(command, (context) => copy(context, source, target, options))),
  );
}

async function copy(
  { output, signal }: CommandContext,
  sourceText: string,
  targetText: string,
  options: CopyCliOptions,
): Promise<number> {
  const [{ copyImage }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../../transports/copy.js'),
    import('../../transports/open.js'),
    import('../../image/reference.js'),
  ]);
  // Not before: V8 takes bytecode only under the flags with which it was made.
  compileRarely();
  collectAtOnce();
  const access = sideOptions(options);
  const source = openSource(parseReference(sourceText), access.source);
  const target = openTarget(parseReference(targetText), access.target);
  const progress = createProgress({ quiet: output.quiet || output.json });
  const startedAt = performance.now();
  try {
    const summary = await copyImage(source, target, {
      platform: options.platform,
      referrers: options.referrers ? 'all' : 'profile',
      signal,
      onProgress: (event) => progress.update(sourceText, event.done, event.total),
    });
    progress.close();
    output.result(
      summary,
      `${formatImage(targetText, summary.digest)}\ncopied ${formatBytes(summary.copiedBytes)} in ` +
        `${formatDuration(performance.now() - startedAt)}, ${summary.skippedBlobs} blobs were there already` +
        (summary.referrers > 0 ? `; with ${summary.referrers} that refer to it` : ''),
    );
    return EXIT.ok;
  } finally {
    progress.close();
    await source.close();
  }
}
