import type { Command } from 'commander';
import { RafterError } from '../../errors.js';
import {
  accessOptions,
  addCommonOptions,
  addRegistryOptions,
  type CommandContext,
  type RegistryCliOptions,
  withContext,
} from '../context.js';
import { EXIT } from '../exit-codes.js';

/** `rafter delete IMAGE` */
export function defineDelete(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('delete')
    .description('delete an image, or one of its tags, from a registry')
    .argument('<image>', 'HOST/NAME:TAG or HOST/NAME@DIGEST')
    .addHelpText(
      'after',
      `
A digest deletes the manifest with all tags that name it, a tag only that tag; many registries do not take tags. Blobs stay
until the registry collects its garbage.

Examples:
  rafter delete registry.example.com/team/app:old
  rafter delete registry.example.com/team/app@sha256:7f49...`,
    );
  addRegistryOptions(addCommonOptions(command)).action(async (image: string, options: RegistryCliOptions) =>
    setExitCode(await withContext(command, (context) => deleteOne(context, image, options))),
  );
}

async function deleteOne(
  { output, signal }: CommandContext,
  image: string,
  options: RegistryCliOptions,
): Promise<number> {
  const [{ deleteImage }, { parseRegistryReference }] = await Promise.all([
    import('../../registry/delete-image.js'),
    import('../../image/reference.js'),
  ]);
  const reference = parseRegistryReference(image, 'only images in registries can be deleted');
  // Nobody wants to lose :latest because the tag was forgotten.
  if (!/[:@][^/]+$/.test(image)) {
    throw new RafterError('USAGE', `${image}: what is to be deleted must be named with its tag or digest`, {
      hint: `if you mean it: rafter delete ${image}:latest`,
    });
  }
  const deleted = await deleteImage(reference, { ...accessOptions(options), signal });
  output.result(deleted, `deleted ${deleted.name}`);
  return EXIT.ok;
}
