import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { decompress } from '../../src/codec/compressor.js';
import { chunkDigest, crc32c, ociDigest } from '../../src/codec/digest.js';
import { unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { type Manifest, parseImageManifest } from '../../src/image/manifest.js';
import { findBootstrapLayer } from '../../src/image/nydus-manifest.js';
import { type BlobChunk, BlobMeta } from '../../src/rafs/blob-meta.js';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { walk } from '../../src/rafs/walk.js';

/** One name of an image with everything that is to be compared. */
export interface Row {
  /** latin1 of the path's bytes. */
  path: string;
  type: string;
  mode: number;
  uid: number;
  gid: number;
  mtimeSec: number;
  mtimeNsec: number;
  nlink: number;
  nid: number;
  size?: number;
  sha256?: string;
  target?: string;
  rdev?: [number, number];
  xattrs: Record<string, string>;
}

export interface NydusImage {
  manifest: Manifest;
  config: { rootfs: { diff_ids: string[] } } & Record<string, unknown>;
  bootstrap: Bootstrap;
  bootstrapDiffId: string;
  metas: BlobMeta[];
  /** Chunks of all blobs. */
  chunks: { blob: number; chunk: BlobChunk }[];
  rows: Map<string, Row>;
}

/** Reads the Nydus image of a layout and checks every chunk against its digest and CRC on the way. */
export async function readImage(dir: string): Promise<NydusImage> {
  const blob = (digest: string) => join(dir, 'blobs/sha256', hexOf(digest));
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8'));
  const [entry]: Descriptor[] = index.manifests;
  const manifest = parseImageManifest(readFileSync(blob(entry!.digest)), 'the converted manifest');
  const layer = findBootstrapLayer(manifest, 'the converted image');
  const unpacked = await unpackBootstrapLayer(createReadStream(blob(layer.digest)), 'the bootstrap layer');
  const bootstrap = parseBootstrap(unpacked.bootstrap);
  const metas = bootstrap.blobs.map((each) => BlobMeta.parseFile(unpacked.blobMetas.get(each.id)!, each));
  const files = bootstrap.blobs.map(({ id }) => readFileSync(blob(`sha256:${id}`)));
  const batches = new Map<string, Buffer>();

  const readChunk = (blobIndex: number, chunkIndex: number): Buffer => {
    const chunk = metas[blobIndex]!.chunk(chunkIndex);
    const unit = chunk.batch ?? { storedSize: chunk.storedSize, decodedSize: chunk.size, offset: 0 };
    const { compressor, digester } = bootstrap.blobs[blobIndex]!;
    const key = `${blobIndex}/${chunk.storedOffset}`;
    let decoded = batches.get(key);
    if (!decoded) {
      const stored = files[blobIndex]!.subarray(chunk.storedOffset, chunk.storedOffset + unit.storedSize);
      decoded = chunk.compressed ? decompress(compressor, stored, unit.decodedSize) : stored;
      if (chunk.batch) batches.set(key, decoded);
    }
    const raw = decoded.subarray(unit.offset, unit.offset + chunk.size);
    const expected = bootstrap.chunkDigest(blobIndex, chunkIndex);
    if (!expected?.equals(chunkDigest(digester, raw)))
      throw new Error(`chunk ${key} does not fit its digest`);
    if (chunk.crc !== undefined && chunk.crc !== crc32c(raw)) throw new Error(`chunk ${key}: wrong CRC`);
    return raw;
  };

  const rows = new Map<string, Row>();
  for (const { path, inode } of walk(bootstrap)) {
    const { type, mode, uid, gid, mtimeSec, mtimeNsec, nlink, nid, size, rdev } = inode;
    const row: Row = {
      path: path.toString('latin1'),
      type,
      mode,
      uid,
      gid,
      mtimeSec,
      mtimeNsec,
      nlink,
      nid,
      xattrs: {},
    };
    for (const { name, value } of bootstrap.xattrs(inode))
      row.xattrs[name.toString('latin1')] = value.toString('hex');
    if (type === 'symlink') row.target = bootstrap.readlink(inode).toString('latin1');
    if (rdev) row.rdev = [rdev.major, rdev.minor];
    if (type === 'file') {
      const hash = createHash('sha256');
      let read = 0;
      for (let k = 0; k < inode.chunkCount; k++) {
        const at = bootstrap.chunkAt(inode, k);
        const raw = readChunk(at.blobIndex, at.chunkIndex);
        read += raw.length;
        hash.update(raw);
      }
      if (read !== size) throw new Error(`${row.path}: ${read} bytes in its chunks, size ${size}`);
      Object.assign(row, { size, sha256: hash.digest('hex') });
    }
    rows.set(row.path, row);
  }
  return {
    manifest,
    config: JSON.parse(readFileSync(blob(manifest.config.digest), 'utf8')),
    bootstrap,
    bootstrapDiffId: ociDigest(gunzipSync(readFileSync(blob(layer.digest)))),
    metas,
    chunks: metas.flatMap((meta, i) =>
      Array.from({ length: meta.chunkCount }, (_, k) => ({ blob: i, chunk: meta.chunk(k) })),
    ),
    rows,
  };
}
