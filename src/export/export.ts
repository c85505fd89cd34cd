import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { sha256Stream } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { OCI_MANIFEST } from '../image/media-types.js';
import { formatPlatform } from '../image/platform.js';
import type { ImageSource } from '../image/source.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { createContentReader } from '../inspect/content.js';
import { type OpenImage, openImage } from '../inspect/open-image.js';
import { buildExportedManifest } from './exported-manifest.js';
import { tarOfTree } from './tree-tar.js';

/** Header byte in which zlib names the operating system; 255 is "unknown", so that the bytes are the same everywhere. */
const GZIP_OS_OFFSET = 9;
const PIECE_SIZE = 1 << 20;

export interface ExportRequest {
  source: ImageSource;
  target: ImageTarget;
  /** `linux/arm64`: which image of an index. Default: that of this machine. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Told of the bytes of file content so far. */
  onProgress?: (contentBytes: number) => void;
}

/** What an export made. Sizes in bytes. */
export interface ExportSummary {
  platform: string;
  /** Of the manifests. */
  source: { digest: Digest };
  target: { digest: Digest; bytes: number };
  layer: { digest: Digest; bytes: number; diffId: Digest; entries: number; tarBytes: number };
  /** What was left out. */
  warnings: string[];
}

/**
 * Makes an ordinary OCI image of a Nydus image, in one pass without anything on disk but the layer on its way. A Nydus image has the merged
 * tree only, so the result has one layer, which unpacked equals the source unpacked. Every chunk is verified. The same image gives
 * the same bytes. After an error or an abort nothing is visible at the target. Throws UNSUPPORTED for other images and for what a layer
 * cannot hold, INTERRUPTED after an abort, and what source, target and the readers of the format throw.
 */
export async function exportImage(request: ExportRequest): Promise<ExportSummary> {
  const { source, target, signal } = request;
  try {
    const image = await openImage(source, { platform: request.platform, signal });
    return await exportOpened(image, request);
  } catch (error) {
    await target.abort();
    if (!signal?.aborted) throw error;
    throw new RafterError('INTERRUPTED', `exporting ${source.name} was interrupted`, { cause: error });
  }
}

async function exportOpened(image: OpenImage, request: ExportRequest): Promise<ExportSummary> {
  const { target, signal } = request;
  const warnings: string[] = [];
  const layer = await storeLayer(image, request, warnings);
  const documents = buildExportedManifest(image, layer);
  await storeBlob(target, signal, (write) => write(documents.config));
  const manifest = await target.putManifest(documents.manifest, OCI_MANIFEST, { tag: true, signal });
  await target.commit();
  const { size: bytes, ...rest } = layer;
  return {
    platform: formatPlatform(image.config),
    source: { digest: image.descriptor.digest },
    target: { digest: manifest.digest, bytes: bytes + documents.config.length },
    layer: { ...rest, bytes },
    warnings,
  };
}

async function storeLayer(image: OpenImage, request: ExportRequest, warnings: string[]) {
  const { target, signal, onProgress } = request;
  const hash = sha256Stream();
  let tarBytes = 0;
  let entries = 0;
  const tree = tarOfTree(image.bootstrap, createContentReader(image, { everything: true, signal }), {
    name: image.name,
    onWarning: (message) => warnings.push(message),
    onEntry: (contentBytes) => {
      entries++;
      onProgress?.(contentBytes);
    },
  });
  async function* measured(): AsyncGenerator<Buffer> {
    for await (const bytes of inPieces(tree)) {
      tarBytes += bytes.length;
      hash.update(bytes);
      yield bytes;
    }
  }
  const { stored } = await storeBlob(target, signal, (write) => {
    const gzip = createGzip({ chunkSize: PIECE_SIZE });
    return pipeline(measured, gzip, (packed) => writeAll(packed as AsyncIterable<Buffer>, write), { signal });
  });
  return { ...stored, diffId: `sha256:${hash.hex()}`, entries, tarBytes };
}

/** Gathers the many small headers, as each write to the compressor costs a turn of the thread pool. */
async function* inPieces(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let size = 0;
  for await (const part of parts) {
    waiting.push(part);
    size += part.length;
    if (size < PIECE_SIZE) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(waiting);
}

async function writeAll(
  packed: AsyncIterable<Buffer>,
  write: (bytes: Buffer) => Promise<void>,
): Promise<void> {
  let written = 0;
  for await (const bytes of packed) {
    if (written <= GZIP_OS_OFFSET && written + bytes.length > GZIP_OS_OFFSET) {
      bytes[GZIP_OS_OFFSET - written] = 255;
    }
    written += bytes.length;
    await write(bytes);
  }
}
