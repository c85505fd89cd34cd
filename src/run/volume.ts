import { isAbsolute, normalize, resolve } from 'node:path';
import { RafterError } from '../errors.js';

/** A directory or file of the machine that the container sees. */
export interface Volume {
  /** Absolute path on the machine. */
  source: string;
  /** Absolute path in the container, normalized. */
  destination: string;
  readOnly: boolean;
}

const FORM = 'write HOST:CONTAINER or HOST:CONTAINER:ro, with an absolute CONTAINER path';

/**
 * Reads one `-v HOST:CONTAINER[:ro|rw]`. HOST is absolute or begins with `.` and is then taken from the working
 * directory; a bare word is a named volume to Docker, which is refused here. USAGE says what is wrong.
 */
export function parseVolume(text: string): Volume {
  const wrong = (what: string) => new RafterError('USAGE', `volume '${text}': ${what}`, { hint: FORM });
  const [source = '', destination = '', mode = 'rw', ...rest] = text.split(':');
  if (source === '' || destination === '' || rest.length > 0) throw wrong('is not HOST:CONTAINER[:ro|rw]');
  if (!isAbsolute(source) && !/^\.{1,2}(\/|$)/.test(source))
    throw wrong(`'${source}' would be a named volume, of which there are none here`);
  if (!isAbsolute(destination)) throw wrong(`'${destination}' is not an absolute path`);
  const target = normalize(destination).replace(/\/+$/, '');
  if (target === '') throw wrong('a container has its own /');
  if (mode !== 'ro' && mode !== 'rw') throw wrong(`'${mode}' is neither ro nor rw`);
  return { source: resolve(source), destination: target, readOnly: mode === 'ro' };
}
