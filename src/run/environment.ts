import { RafterError } from '../errors.js';

/** Docker's search path for images that set none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface EnvironmentInput {
  /** The image's variables, `NAME=value`. Entries without `=` are ignored. */
  image: readonly string[];
  /** The user's: `NAME=value` or `NAME` (RunOptions.env). */
  user: readonly string[];
  /** Where `NAME` alone takes its value from. */
  caller: Readonly<Record<string, string | undefined>>;
  hostname: string;
  /** Home directory of the container's user, for HOME if nobody else sets it. */
  home: string;
  tty: boolean;
}

/**
 * The environment of a container's process as Docker makes it: PATH, HOSTNAME and, with a terminal, TERM by default,
 * the image's variables over them, the user's over those; the first place of a name is kept.
 * USAGE if one of the user's entries has no name.
 */
export function buildEnvironment({ image, user, caller, hostname, home, tty }: EnvironmentInput): string[] {
  const values = new Map([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', hostname],
  ]);
  if (tty) values.set('TERM', 'xterm');
  for (const entry of image) {
    const equals = entry.indexOf('=');
    if (equals > 0) values.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  for (const entry of user) {
    const equals = entry.indexOf('=');
    const name = equals < 0 ? entry : entry.slice(0, equals);
    if (name === '')
      throw new RafterError('USAGE', `environment variable '${entry}' has no name`, {
        hint: 'write NAME=value, or NAME to hand on your own value',
      });
    const value = equals < 0 ? caller[name] : entry.slice(equals + 1);
    if (value === undefined) values.delete(name);
    else values.set(name, value);
  }
  if (!values.get('HOME')) values.set('HOME', home);
  return [...values].map(([name, value]) => `${name}=${value}`);
}
