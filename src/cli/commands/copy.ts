import type { Command } from 'commander';
import { addCommonOptions, addRegistryOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatDuration } from '../format.js';
import { createProgress } from '../progress.js';
import { sideOptions, type TwoSidedOptions } from '../side-options.js';

/** `rafter copy SOURCE TARGET` */
export function defineCopy(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('copy')
    .description('copy an image of any kind: push, pull, or from registry to registry')
    .argument('<source>', 'REGISTRY/IMAGE[:TAG] or oci:DIR[:TAG]')
    .argument('<target>', 'REGISTRY/IMAGE[:TAG] or oci:DIR[:TAG]')
    .option('--src-creds <user:password>', 'credentials for the registry of SOURCE')
    .option('--dest-creds <user:password>', 'credentials for the registry of TARGET')
    .addHelpText(
      'after',
      `
Examples:
  rafter copy oci:images:python-nydus registry.example.com/python:nydus     (push)
  rafter copy registry.example.com/python:nydus oci:images:python-nydus     (pull)`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (source: string, target: string, options: TwoSidedOptions) =>
      setExitCode(await withContext(command, (context) => copy(context, source, target, options))),
  );
}

async function copy(
  { output, signal }: CommandContext,
  sourceText: string,
  targetText: string,
  options: TwoSidedOptions,
): Promise<number> {
  const [{ copyImage }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../../transports/copy.js'),
    import('../../transports/open.js'),
    import('../../image/reference.js'),
  ]);
  const access = sideOptions(options);
  const source = openSource(parseReference(sourceText), access.source);
  const target = openTarget(parseReference(targetText), access.target);
  const progress = createProgress({ quiet: output.quiet || output.json });
  const startedAt = performance.now();
  try {
    const summary = await copyImage(source, target, {
      signal,
      onProgress: (event) => progress.update(sourceText, event.done, event.total),
    });
    progress.close();
    output.result(
      summary,
      `${targetText}@${summary.digest}\ncopied ${formatBytes(summary.copiedBytes)} in ` +
        `${formatDuration(performance.now() - startedAt)}, ${summary.skippedBlobs} blobs were there already`,
    );
    return EXIT.ok;
  } finally {
    progress.close();
    await source.close();
  }
}
