import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Bitmap } from './bitmap.js';
import type { DataStamp, MapIdentity } from './chunk-map.js';
import { type LoadedMap, MapFile } from './map-file.js';

const FILE_MODE = 0o600;

/** The two files of a blob, open. */
export interface BlobFiles {
  data: FileHandle;
  map: MapFile;
  loaded: LoadedMap;
  /** When the chunks were used, as the map says. */
  uses?: Buffer | undefined;
}

/** Opens or creates `<stem>.data` and `<stem>.map` in `dir`. Files that do not belong together or are damaged are replaced. */
export async function openBlobFiles(
  dir: string,
  { stem, identity, places }: { stem: string; identity: MapIdentity; places: SharedArrayBuffer },
): Promise<BlobFiles> {
  const paths: [string, string] = [join(dir, `${stem}.data`), join(dir, `${stem}.map`)];
  const { loaded, ...found } = await openFiles(paths, identity);
  if (loaded) return { ...found, loaded };
  await found.map.close();
  await found.data.close();
  // Never emptied in place: the kernel may be reading the file for a mount of an earlier process.
  for (const path of paths) await rm(path, { force: true });
  const { data, map } = await openFiles(paths, identity);
  try {
    await map.reset(Buffer.from(places));
    await data.truncate(identity.decodedSize);
  } catch (error) {
    await map.close();
    await data.close();
    throw error;
  }
  const { chunkCount } = identity;
  return { data, map, loaded: { present: new Bitmap(chunkCount), suspect: new Bitmap(chunkCount) } };
}

/** What the map of a blob is closed with, by what stat(2) says of the data file. */
export function stampOf({ ino, mtimeNs }: BigIntStats): DataStamp {
  return { inode: ino, mtime: mtimeNs };
}

/** Opens both files, created if they are not there; `loaded` is missing if they are not those of this blob, whole. */
async function openFiles(
  [dataPath, mapPath]: [string, string],
  identity: MapIdentity,
): Promise<Omit<BlobFiles, 'loaded'> & { loaded: LoadedMap | undefined }> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const data = await open(dataPath, flags, FILE_MODE);
  let handle: FileHandle | undefined;
  try {
    handle = await open(mapPath, flags, FILE_MODE);
    const map = new MapFile(handle, identity);
    const found = await data.stat({ bigint: true });
    const whole = found.size === BigInt(identity.decodedSize);
    const loaded = whole ? await map.load(stampOf(found)) : undefined;
    return { data, map, loaded, uses: loaded && (await map.readUses()) };
  } catch (error) {
    await handle?.close();
    await data.close();
    throw error;
  }
}
