import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, RafterError } from '../../errors.js';
import { systemReason } from '../../os/system-error.js';
import type { TlsSettings } from './endpoint.js';

/** What the directory of a host holds, as Docker defines it: `*.crt` authorities, `*.cert` with `*.key` client certificates. */
export async function readCertsDir(directory: string): Promise<Pick<TlsSettings, 'ca' | 'clients'>> {
  let names: string[];
  try {
    names = (await readdir(directory)).sort();
  } catch (error) {
    // On some machines only root may look into it; whoever else needs it learns that from TLS.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return { ca: [], clients: [] };
    throw new RafterError('FAILED', `${directory}: ${systemReason(error)}`, { cause: error });
  }
  const partner = (name: string, ending: string) => name.replace(/\.[^.]*$/, ending);
  for (const name of names) {
    const other = name.endsWith('.cert') ? '.key' : name.endsWith('.key') ? '.cert' : undefined;
    if (other === undefined || names.includes(partner(name, other))) continue;
    throw new RafterError(
      'NOT_FOUND',
      `${join(directory, name)}: there is no ${partner(name, other)} with it`,
      {
        hint: 'a certificate authority ends in .crt, a client certificate in .cert, its key in .key',
      },
    );
  }
  return {
    ca: names.filter((name) => name.endsWith('.crt')).map((name) => join(directory, name)),
    clients: names
      .filter((name) => name.endsWith('.cert'))
      .map((name) => ({ cert: join(directory, name), key: join(directory, partner(name, '.key')) })),
  };
}

/** The settings for `host` (with its port, if it has one) of all of `directories` together. URLs have hosts that mean directories. */
export async function readCertsDirs(
  directories: string[],
  host: string,
): Promise<Pick<TlsSettings, 'ca' | 'clients'>> {
  if (host === '.' || host === '..') return { ca: [], clients: [] };
  const found = await Promise.all(directories.map((directory) => readCertsDir(join(directory, host))));
  return { ca: found.flatMap(({ ca }) => ca), clients: found.flatMap(({ clients }) => clients) };
}
