import { constants } from 'node:fs';
import { lstat, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../errors.js';
import { PLACE_SIZE } from '../chunk-places.js';
import type { Bitmap } from '../storage/bitmap.js';
import { stampOf } from '../storage/blob-files.js';
import { decodeMapHeader, MAP_HEADER_SIZE, type MapIdentity, mapPlaces } from '../storage/chunk-map.js';
import { readFull, readStart } from '../storage/file-io.js';
import { MapFile } from '../storage/map-file.js';
import { ChunkUses } from './chunk-uses.js';

const DATA = '.data';
const PIN = '.pin';
/** Unit of st_blocks (stat(2)). */
const STAT_BLOCK = 512;

/** What the map file of a blob says, without the image. */
export interface StoredMap {
  identity: MapIdentity;
  present: Bitmap;
  /** `ChunkPlaces`. */
  places: SharedArrayBuffer;
  uses: ChunkUses;
  /** Digests of the chunks, if they were asked for and could be read. */
  records?: Buffer | undefined;
}

/** File names without `.data` of the blobs in cache directory `dir`. */
export async function listStems(dir: string): Promise<string[]> {
  const names = await readdir(dir);
  return names.filter((name) => name.endsWith(DATA)).map((name) => name.slice(0, -DATA.length));
}

/** The blob id of a file name. */
export function blobIdOf(stem: string): string {
  return stem.split('-', 1)[0]!;
}

/** Size of the data file in decoded bytes, and what it and the map take of the disk; undefined if it is not there. */
export async function sizeOfBlob(
  dir: string,
  stem: string,
): Promise<{ size: number; diskBytes: number; changedAt: number } | undefined> {
  const [data, map] = await Promise.all(
    [DATA, '.map'].map((end) => stat(join(dir, stem + end)).catch(() => undefined)),
  );
  if (data === undefined) return undefined;
  const diskBytes = (data.blocks + (map?.blocks ?? 0)) * STAT_BLOCK;
  return { size: data.size, diskBytes, changedAt: Math.max(data.mtimeMs, map?.mtimeMs ?? 0) };
}

/**
 * Reads a map file that nobody writes to. Undefined if it is missing, damaged, or of another version. The data file is not opened:
 * somebody who begins to use it meanwhile would take that for a reader of its bytes.
 */
export async function readStoredMap(
  dir: string,
  stem: string,
  { records = false }: { records?: boolean } = {},
): Promise<StoredMap | undefined> {
  try {
    const data = await lstat(join(dir, stem + DATA), { bigint: true });
    const map = await open(join(dir, `${stem}.map`), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const header = Buffer.alloc(MAP_HEADER_SIZE);
      if (!(await readFull(map, header, 0))) return undefined;
      const identity = decodeMapHeader(header);
      if (identity === undefined) return undefined;
      const file = new MapFile(map, identity);
      const loaded = await file.load(stampOf(data));
      if (loaded === undefined) return undefined;
      const { chunkCount } = identity;
      const places = new SharedArrayBuffer(chunkCount * PLACE_SIZE);
      if (!(await readFull(map, Buffer.from(places), mapPlaces(chunkCount).places))) return undefined;
      const uses = new ChunkUses(ChunkUses.memory(chunkCount, await file.readUses()));
      const { present } = loaded;
      return { identity, present, places, uses, records: records ? await file.readRecords() : undefined };
    } finally {
      await map.close();
    }
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Whose the map file of blob `stem` is; undefined if there is none that can be read. */
export async function readIdentity(dir: string, stem: string): Promise<MapIdentity | undefined> {
  try {
    return decodeMapHeader(await readStart(join(dir, `${stem}.map`), MAP_HEADER_SIZE));
  } catch {
    return undefined;
  }
}

/** Ids of the blobs that are pinned in `dir`. */
export async function readPins(dir: string): Promise<Set<string>> {
  const names = await readdir(dir);
  return new Set(names.filter((name) => name.endsWith(PIN)).map((name) => name.slice(0, -PIN.length)));
}

/** Pins blob `id`, which need not be here yet, or unpins it. */
export async function setPin(dir: string, id: string, pinned: boolean): Promise<void> {
  const path = join(dir, id + PIN);
  if (pinned) await writeFile(path, '', { mode: 0o600 });
  else await rm(path, { force: true });
}

/** Removes the files of a blob that nobody has open. */
export async function removeBlobFiles(dir: string, stem: string): Promise<void> {
  // A map without its data file is never believed.
  for (const end of [DATA, '.map']) await rm(join(dir, stem + end), { force: true });
}
