import { randomBytes } from 'node:crypto';
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoOf, RafterError } from '../../errors.js';
import { explainFull } from '../../os/disk-full.js';
import { syncDirectory, TEMPORARY_SUFFIX } from '../../os/whole-file.js';
import { encodePaxRecord } from './pax.js';
import { encodeUstar, MAX_USTAR_NAME, TAR_BLOCK } from './ustar.js';

const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;

/** A tar that is being written. Entries have owner 0:0 and no time, so that the same content gives the same bytes. */
export interface ArchiveWriter {
  addDirectory(name: string): Promise<void>;
  addFile(name: string, content: AsyncIterable<Buffer> | Buffer): Promise<void>;
}

/**
 * Where an archive that the user calls `path` is to be: symlinks followed, so that what they lead to is replaced. NOT_FOUND
 * if its directory does not exist, USAGE if something else than a regular file is there.
 */
export async function archivePlace(path: string): Promise<string> {
  const parent = dirname(resolve(path));
  try {
    const place = join(await realpath(parent), basename(path));
    const known = await realpath(place).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
      return undefined;
    });
    if (known === undefined) return place;
    if ((await stat(known)).isFile()) return known;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    throw new RafterError('NOT_FOUND', `${parent}: no such directory`, {
      cause: error,
      hint: `create it first: mkdir -p ${parent}`,
    });
  }
  throw new RafterError('USAGE', `${path}: no regular file, so no archive can be written there`, {
    hint: 'for an OCI layout in a directory write oci:DIR[:TAG]',
  });
}

/**
 * Writes the tar `place` with what `fill` adds, and replaces what is there: whole and on disk when this returns, or not at
 * all. NO_SPACE if the disk is full, and what `fill` throws.
 */
export async function writeArchive(
  place: string,
  fill: (writer: ArchiveWriter) => Promise<void>,
): Promise<void> {
  const unique = `${process.pid}-${randomBytes(8).toString('hex')}`;
  const temporary = join(dirname(place), `.${basename(place).slice(0, 200)}.${unique}${TEMPORARY_SUFFIX}`);
  try {
    const handle = await open(temporary, 'wx', FILE_MODE);
    try {
      await fill(writerTo(handle));
      await handle.writeFile(Buffer.alloc(2 * TAR_BLOCK));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { force: true });
    throw explainFull(error, place);
  }
  await syncDirectory(dirname(place));
}

function writerTo(handle: FileHandle): ArchiveWriter {
  let end = 0;
  const append = async (bytes: Buffer) => {
    await handle.writeFile(bytes);
    end += bytes.length;
  };
  /** What of a file's name its header takes; the whole of a longer one goes to an extended header (POSIX pax) in front. */
  const fittingName = async (name: string) => {
    if (name.length <= MAX_USTAR_NAME) return name;
    const record = encodePaxRecord('path', Buffer.from(name));
    await append(headerOf({ name: 'PaxHeaders/long-name', flag: 'x', mode: FILE_MODE, size: record.length }));
    await append(record);
    await append(paddingOf(record.length));
    return name.slice(0, MAX_USTAR_NAME);
  };
  return {
    addDirectory: (name) => append(headerOf({ name: `${name}/`, flag: '5', mode: DIRECTORY_MODE, size: 0 })),
    async addFile(name, content) {
      const shortName = await fittingName(name);
      const start = end;
      await append(Buffer.alloc(TAR_BLOCK));
      if (Buffer.isBuffer(content)) await append(content);
      else for await (const piece of content) await append(piece);
      const size = end - start - TAR_BLOCK;
      await append(paddingOf(size));
      // Only now the size is known.
      await handle.write(
        headerOf({ name: shortName, flag: '0', mode: FILE_MODE, size }),
        0,
        TAR_BLOCK,
        start,
      );
    },
  };
}

/** The zeros behind `size` bytes of content. */
function paddingOf(size: number): Buffer {
  return Buffer.alloc(-size & (TAR_BLOCK - 1));
}

function headerOf(fields: { name: string; flag: string; mode: number; size: number }): Buffer {
  return encodeUstar({ ...fields, name: Buffer.from(fields.name), uid: 0, gid: 0, mtime: 0 });
}
