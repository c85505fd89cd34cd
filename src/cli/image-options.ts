import type { Command } from 'commander';
import type { ImageSource } from '../image/source.js';
import { accessOptions, addCommonOptions, addRegistryOptions, type RegistryCliOptions } from './context.js';

/** The options of commands that read images without a mount. */
export interface ImageCliOptions extends RegistryCliOptions {
  platform?: string;
}

/** Adds the options of commands that read images without a mount. */
export function addImageOptions(command: Command): Command {
  return addRegistryOptions(addCommonOptions(command)).option(
    '--platform <os/arch>',
    'which image of an index (default: this machine)',
  );
}

/** Opens the image that the user named for the time of `body`. */
export async function withSource<T>(
  text: string,
  options: RegistryCliOptions,
  body: (source: ImageSource) => Promise<T>,
): Promise<T> {
  const [{ openSource }, { parseReference }] = await Promise.all([
    import('../transports/open.js'),
    import('../image/reference.js'),
  ]);
  const source = openSource(parseReference(text), accessOptions(options));
  try {
    return await body(source);
  } finally {
    await source.close();
  }
}
