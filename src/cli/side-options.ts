import type { ImageReference } from '../image/reference.js';
import { accessOptions, parseCredentials, type RegistryCliOptions } from './context.js';

/** The options of commands with two registries. */
export interface TwoSidedOptions extends RegistryCliOptions {
  srcCreds?: string;
  destCreds?: string;
}

/** What each side's registry is reached with: `--creds` is for both, unless a side has its own. */
export function sideOptions(options: TwoSidedOptions): {
  source: ReturnType<typeof accessOptions>;
  target: ReturnType<typeof accessOptions>;
} {
  const base = accessOptions(options);
  const side = (creds: string | undefined) =>
    creds === undefined ? base : { ...base, credentials: parseCredentials(creds) };
  return { source: side(options.srcCreds), target: side(options.destCreds) };
}

/**
 * What a third image is reached with: what the side in the same registry is, of both the target; elsewhere without
 * credentials of the command line, which are not meant for that registry.
 */
export function otherOptions(
  options: TwoSidedOptions,
  other: ImageReference,
  sides: { source: ImageReference; target: ImageReference },
): ReturnType<typeof accessOptions> {
  const isBeside = (side: ImageReference) =>
    side.transport === 'registry' && other.transport === 'registry' && side.registry === other.registry;
  const access = sideOptions(options);
  if (isBeside(sides.target)) return access.target;
  if (isBeside(sides.source)) return access.source;
  const { credentials: _, ...rest } = accessOptions(options);
  return rest;
}
