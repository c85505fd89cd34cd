import type { Command } from 'commander';
import { addCommonOptions, addRegistryOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatDuration, formatImage } from '../format.js';
import { IMAGE_FORMS, NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { createProgress } from '../progress.js';
import { sideOptions, type TwoSidedOptions } from '../side-options.js';

interface ExportCliOptions extends TwoSidedOptions {
  platform?: string;
}

/** `rafter export IMAGE TARGET` */
export function defineExport(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('export')
    .description('make an ordinary OCI image of a converted one')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('<target>', IMAGE_FORMS)
    .option('--platform <os/arch>', 'which image of an index (default: this machine)')
    .option('--src-creds <user:password>', 'credentials for the registry of IMAGE')
    .option('--dest-creds <user:password>', 'credentials for the registry of TARGET')
    .addHelpText(
      'after',
      `
A converted image has the merged tree and no longer its layers, so the result has one layer. Unpacked it is what the
layers of the original are.

Example:
  rafter export registry.example.com/python:3.12-nydus oci:images:python`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (image: string, target: string, options: ExportCliOptions) =>
      setExitCode(await withContext(command, (context) => run(context, image, target, options))),
  );
}

async function run(
  { output, signal }: CommandContext,
  imageText: string,
  targetText: string,
  options: ExportCliOptions,
): Promise<number> {
  const [{ exportImage }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../../export/export.js'),
    import('../../transports/open.js'),
    import('../../image/reference.js'),
  ]);
  const access = sideOptions(options);
  const source = openSource(parseReference(imageText), access.source);
  const target = openTarget(parseReference(targetText), access.target);
  const progress = createProgress({ quiet: output.quiet || output.json });
  const startedAt = performance.now();
  try {
    const summary = await exportImage({
      source,
      target,
      platform: options.platform,
      signal,
      onProgress: (bytes) => progress.update(imageText, bytes),
    });
    progress.close();
    for (const warning of summary.warnings) output.warn(warning);
    output.result(
      summary,
      `${formatImage(targetText, summary.target.digest)}\n` +
        `exported ${formatBytes(summary.layer.tarBytes)} in ${formatDuration(performance.now() - startedAt)} ` +
        `as a layer of ${formatBytes(summary.layer.bytes)}`,
    );
    return EXIT.ok;
  } finally {
    progress.close();
    await source.close();
  }
}
