import type { Command } from 'commander';
import { RafterError } from '../../errors.js';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { writeStdout } from '../stdout.js';

/** `rafter cat IMAGE PATH...` */
export function defineCat(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('cat')
    .description('print files of a converted image without mounting it')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('<path...>', 'files in the image; symbolic links are followed inside the image')
    .addHelpText(
      'after',
      `
Only the chunks of these files are downloaded, and each is verified before it is printed.

Example:
  rafter cat registry.example.com/python:3.12-nydus /etc/os-release`,
    );
  addImageOptions(command).action(async (image: string, paths: string[], options: ImageCliOptions) =>
    setExitCode(await withContext(command, (context) => cat(context, image, paths, options))),
  );
}

async function cat(
  { signal }: CommandContext,
  text: string,
  paths: string[],
  options: ImageCliOptions,
): Promise<number> {
  const [{ openImage }, { createContentReader }, { findPath }] = await Promise.all([
    import('../../inspect/open-image.js'),
    import('../../inspect/content.js'),
    import('../../inspect/find-path.js'),
  ]);
  return withSource(text, options, async (source) => {
    const image = await openImage(source, { platform: options.platform, signal });
    const { bootstrap, name } = image;
    // All names are looked up before the first byte is printed.
    const files = paths.map((path) => {
      const { inode } = findPath(bootstrap, Buffer.from(path), { follow: true, name });
      if (inode.type === 'file') return inode;
      const kind = inode.type === 'dir' ? 'directory' : inode.type;
      throw new RafterError('FAILED', `${name}: ${path}: not a regular file but a ${kind}`, {
        hint: `rafter ls -l ${name} ${path} shows it`,
      });
    });
    const content = createContentReader(image, { signal });
    for (const file of files) for await (const bytes of content.read(file)) await writeStdout(bytes);
    return EXIT.ok;
  });
}
