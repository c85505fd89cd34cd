import { readFileSync } from 'node:fs';
import { errnoOf, RafterError } from '../errors.js';
import { systemReason } from '../os/system-error.js';
import { DEFAULT_PROFILE } from './seccomp-default.js';
import type { SeccompProfile } from './seccomp-file.js';

/** What `--security-opt` says about a container. */
export interface SecurityOptions {
  /** Which system calls it may make; undefined: all. */
  seccomp: SeccompProfile | undefined;
  /** No program in it gets more rights than it was started with: set-user-id bits and file capabilities count for nothing. */
  noNewPrivileges: boolean;
}

const FORMS =
  'there are seccomp=unconfined, seccomp=builtin, seccomp=FILE and no-new-privileges[=true|false]';

/**
 * Reads the values of `--security-opt`, with Docker's names and meaning; the last of a kind counts. USAGE for what is not
 * known here, NOT_FOUND or DENIED for a profile that cannot be read, and what `parseProfile` throws.
 */
export async function parseSecurityOptions(texts: readonly string[]): Promise<SecurityOptions> {
  const options: SecurityOptions = { seccomp: DEFAULT_PROFILE, noNewPrivileges: false };
  for (const text of texts) {
    // A colon is how Docker wrote it first.
    const [, name, value] = /^([^=:]*)[=:](.*)$/s.exec(text) ?? [text, text, undefined];
    if (name === 'seccomp' && value) options.seccomp = await seccompOf(value);
    else if (name === 'no-new-privileges' && [undefined, 'true', 'false'].includes(value))
      options.noNewPrivileges = value !== 'false';
    else throw new RafterError('USAGE', `--security-opt '${text}' is not known`, { hint: FORMS });
  }
  return options;
}

async function seccompOf(value: string): Promise<SeccompProfile | undefined> {
  if (value === 'unconfined') return undefined;
  if (value === 'builtin') return DEFAULT_PROFILE;
  const { parseProfile } = await import('./seccomp-file.js');
  return parseProfile(readProfile(value), value);
}

function readProfile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = { ENOENT: 'NOT_FOUND', ENOTDIR: 'NOT_FOUND', EACCES: 'DENIED' } as const;
    const found = code[errnoOf(error) as keyof typeof code];
    const what = found === 'NOT_FOUND' ? 'there is no such file' : systemReason(error);
    throw new RafterError(found ?? 'FAILED', `seccomp profile ${path}: ${what}`, {
      cause: error,
      hint: FORMS,
    });
  }
}
