import type { Command } from 'commander';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes } from '../format.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { createProgress } from '../progress.js';

/** `rafter unpack IMAGE DIR` */
export function defineUnpack(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('unpack')
    .description('write the whole tree of a converted image to a directory')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('<dir>', 'a directory that does not exist or is empty')
    .addHelpText(
      'after',
      `
Owners, modes, times, extended attributes, hard links and devices are those of the image, which needs root. The directory
appears when everything is in it, or not at all.

Example:
  rafter unpack registry.example.com/python:3.12-nydus rootfs`,
    );
  addImageOptions(command).action(async (image: string, directory: string, options: ImageCliOptions) =>
    setExitCode(await withContext(command, (context) => unpack(context, image, directory, options))),
  );
}

async function unpack(
  { output, signal }: CommandContext,
  text: string,
  directory: string,
  options: ImageCliOptions,
): Promise<number> {
  const [{ openImage }, { unpackImage }] = await Promise.all([
    import('../../inspect/open-image.js'),
    import('../../inspect/unpack.js'),
  ]);
  const progress = createProgress({ quiet: output.quiet || output.json });
  try {
    return await withSource(text, options, async (source) => {
      const image = await openImage(source, { platform: options.platform, signal });
      const summary = await unpackImage(image, directory, {
        signal,
        onBytes: (bytes) => progress.update(text, bytes),
      });
      progress.close();
      output.result(
        summary,
        `${summary.directory}: ${summary.names} names, ${formatBytes(summary.bytes)} in files`,
      );
      return EXIT.ok;
    });
  } finally {
    progress.close();
  }
}
