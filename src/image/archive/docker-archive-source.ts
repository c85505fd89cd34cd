import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { decompressLayer, detectLayerCompression } from '../../codec/decompress-stream.js';
import { ociDigest } from '../../codec/digest.js';
import { RafterError } from '../../errors.js';
import { MAX_CONFIG_SIZE, parseImageConfig } from '../config.js';
import { type Descriptor, type Digest, hasherFor, hexOf } from '../descriptor.js';
import type { FileRange } from '../file-range.js';
import { MAX_MANIFEST_SIZE } from '../manifest.js';
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../media-types.js';
import { printable } from '../printable.js';
import { type DockerArchiveReference, formatReference } from '../reference.js';
import type { ImageSource } from '../source.js';
import { verifiedStream } from '../verified-stream.js';
import { type ArchiveFile, openArchive } from './archive-file.js';
import {
  DOCKER_MANIFEST_FILE,
  type DockerArchiveImage,
  parseDockerManifest,
  selectImage,
} from './docker-manifest.js';

/** Bytes that tell how a layer is compressed. */
const HEAD_SIZE = 4;

interface StoredBlob {
  name: string;
  file: FileRange;
}

/** An image of an archive, with a manifest, which the archive itself does not have. */
interface OpenedImage {
  archive: ArchiveFile;
  descriptor: Descriptor;
  manifest: Buffer;
  blobs: Map<Digest, StoredBlob>;
}

/**
 * An image of a tar as `docker save` writes it, or a tool like it. It is shown as an OCI image whose layers are what the
 * archive has: the manifest is made here, the configuration and with it the image's id are the archive's own. Layers are read
 * in place. `tempDir`: see `openArchive`.
 */
export function dockerArchiveSource(
  reference: DockerArchiveReference,
  options: { tempDir?: string | undefined } = {},
): ImageSource {
  const name = formatReference(reference);
  let opening: Promise<ArchiveFile> | undefined;
  let reading: Promise<OpenedImage> | undefined;
  const image = () => {
    opening ??= openArchive(reference.path, options);
    reading ??= opening.then((archive) => openImage(archive, reference.tag));
    return reading;
  };
  const find = async ({ digest }: Descriptor) => {
    const { archive, blobs } = await image();
    const blob = blobs.get(digest);
    if (blob !== undefined) return { archive, blob };
    throw new RafterError('NOT_FOUND', `${name}: the image has no ${digest}`);
  };
  return {
    name,
    async resolve() {
      return (await image()).descriptor;
    },
    async readManifest(wanted) {
      const { descriptor, manifest } = await image();
      if (wanted.digest === descriptor.digest) return manifest;
      throw new RafterError('NOT_FOUND', `${name}: the image has no manifest ${wanted.digest}`);
    },
    async openBlob(descriptor, signal, checks) {
      const { archive, blob } = await find(descriptor);
      return verifiedStream(archive.stream(blob.file, blob.name), descriptor, blob.name, {
        signal,
        ...checks,
      });
    },
    async readBlobRange(descriptor, offset, length) {
      const { archive, blob } = await find(descriptor);
      return archive.read(blob.file, { offset, size: length }, blob.name);
    },
    async close() {
      await reading?.catch(() => {});
      await (await opening?.catch(() => undefined))?.close();
    },
  };
}

async function openImage(archive: ArchiveFile, wanted: string | undefined): Promise<OpenedImage> {
  const image = selectImage(await readImages(archive), wanted, archive.path);
  const blobs = new Map<Digest, StoredBlob>();
  const config = await readConfig(archive, image, blobs);
  const layers: Descriptor[] = [];
  for (const [i, path] of image.layers.entries()) {
    const blob = fileOf(archive, path);
    const layer = await describeLayer(archive, blob, config.diffIds[i]!);
    blobs.set(layer.digest, blob);
    layers.push(layer);
  }
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: config.descriptor, layers }),
  );
  const descriptor = { mediaType: OCI_MANIFEST, digest: ociDigest(manifest), size: manifest.length };
  return { archive, descriptor, manifest, blobs };
}

async function readImages(archive: ArchiveFile): Promise<DockerArchiveImage[]> {
  const file = archive.find(DOCKER_MANIFEST_FILE);
  const name = `${archive.path}: ${DOCKER_MANIFEST_FILE}`;
  if (file !== undefined) {
    return parseDockerManifest(await readSmall(archive, { name, file }, MAX_MANIFEST_SIZE), name);
  }
  if (archive.find('repositories') !== undefined) {
    throw new RafterError('UNSUPPORTED', `${archive.path}: an archive of Docker before version 1.10`, {
      hint: 'load it into a current Docker and save it again',
    });
  }
  throw new RafterError('NOT_FOUND', `${name} is missing: not what docker save writes`, {
    ...(archive.find('index.json') && { hint: 'for an OCI layout in a tar write oci-archive:FILE[:TAG]' }),
  });
}

async function readConfig(
  archive: ArchiveFile,
  image: DockerArchiveImage,
  blobs: Map<Digest, StoredBlob>,
): Promise<{ descriptor: Descriptor; diffIds: Digest[] }> {
  const blob = fileOf(archive, image.config);
  const bytes = await readSmall(archive, blob, MAX_CONFIG_SIZE);
  const digest = ociDigest(bytes);
  // The name is all that says what the configuration was.
  const hex = /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(image.config)?.[1];
  if (hex !== undefined && hex !== hexOf(digest)) {
    throw new RafterError('DIGEST_MISMATCH', `${blob.name}: bytes have digest ${digest}`);
  }
  const { diffIds } = parseImageConfig(bytes, blob.name);
  if (diffIds.length !== image.layers.length) {
    const count = `${diffIds.length} diff ids for ${image.layers.length} layers`;
    throw new RafterError('MALFORMED', `${blob.name}: the configuration has ${count}`);
  }
  blobs.set(digest, blob);
  return { descriptor: { mediaType: OCI_CONFIG, digest, size: bytes.length }, diffIds };
}

/** A plain layer is named by its diff id, and checked when it is read; a compressed one has to be read for its digest. */
async function describeLayer(
  archive: ArchiveFile,
  { name, file }: StoredBlob,
  diffId: Digest,
): Promise<Descriptor> {
  const { size } = file;
  const head = await archive.read(file, { offset: 0, size: Math.min(size, HEAD_SIZE) }, name);
  const compression = detectLayerCompression(head);
  if (compression === 'none') return { mediaType: OCI_LAYER, digest: diffId, size };
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const piece of archive.stream(file, name) as AsyncIterable<Buffer>) {
      hash.update(piece);
      yield piece;
    }
  }
  const { tar } = await decompressLayer(Readable.from(hashed(), { objectMode: false }), name);
  const plain = hasherFor(diffId);
  for await (const piece of tar as AsyncIterable<Buffer>) plain.update(piece);
  const found = plain.digest('hex');
  if (found !== hexOf(diffId)) {
    throw new RafterError('DIGEST_MISMATCH', `${name}: its tar has digest ${found}, expected ${diffId}`);
  }
  return { mediaType: `${OCI_LAYER}+${compression}`, digest: `sha256:${hash.digest('hex')}`, size };
}

function fileOf(archive: ArchiveFile, path: string): StoredBlob {
  const name = `${archive.path}: ${printable(path)}`;
  const file = archive.find(path);
  if (file !== undefined) return { name, file };
  throw new RafterError('NOT_FOUND', `${name} is missing`);
}

async function readSmall(archive: ArchiveFile, { name, file }: StoredBlob, limit: number): Promise<Buffer> {
  if (file.size <= limit) return archive.read(file, { offset: 0, size: file.size }, name);
  throw new RafterError('LIMIT_EXCEEDED', `${name}: ${file.size} bytes, more than the limit of ${limit}`);
}
