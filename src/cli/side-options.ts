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
