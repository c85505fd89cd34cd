import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { decompressLayer, detectLayerCompression } from '../../codec/decompress-stream.js';
import { errnoOf, RafterError } from '../../errors.js';
import { isDiskFull } from '../../os/disk-full.js';
import { openNameless } from '../../os/nameless-file.js';
import { systemReason } from '../../os/system-error.js';
import { type FileRange, readExactly, streamRange } from '../file-range.js';
import { indexTar } from './tar-index.js';

const HEAD_SIZE = 6;
/** Compressions of whole archives that other tools read, by the first bytes. */
const UNREADABLE = [
  { name: 'xz', magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) },
  { name: 'bzip2', magic: Buffer.from('BZh') },
];

/** A tar that is open for reading; files in it are read in place. */
export interface ArchiveFile {
  readonly path: string;
  /** As TarIndex. */
  find(name: string): FileRange | undefined;
  names(): string[];
  /** Bytes of a file in the archive: `size` of them, `offset` counted from the file's beginning; TRUNCATED past its end. */
  read(file: FileRange, part: FileRange, name: string): Promise<Buffer>;
  /** A whole file of the archive. */
  stream(file: FileRange, name: string): Readable;
  close(): Promise<void>;
}

/**
 * Opens the tar at `path`. One that is compressed (gzip or zstd), or comes through a pipe, is unpacked first to a file in `tempDir`
 * (default: the system's) that has no name and so goes with this process. Throws NOT_FOUND, DENIED, USAGE for a directory,
 * UNSUPPORTED for other compressions, NO_SPACE, and what `indexTar` and `decompressLayer` throw.
 */
export async function openArchive(
  path: string,
  { tempDir = tmpdir() }: { tempDir?: string | undefined } = {},
): Promise<ArchiveFile> {
  let handle = await openFile(path);
  try {
    handle = await plainFile(handle, path, tempDir);
    const { size } = await handle.stat();
    const index = await indexTar(handle, { size, name: path });
    return {
      path,
      ...index,
      read: (file, part, name) => {
        if (part.offset + part.size > file.size) {
          const needed = `${part.offset + part.size} bytes were needed`;
          throw new RafterError('TRUNCATED', `${name}: has ${file.size} bytes, ${needed}`);
        }
        return readExactly(handle, { offset: file.offset + part.offset, size: part.size }, name);
      },
      stream: (file, name) => streamRange(handle, file, name),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close().catch(() => {});
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    const handle = await open(path, 'r');
    if (!(await handle.stat()).isDirectory()) return handle;
    await handle.close();
  } catch (error) {
    const code = { ENOENT: 'NOT_FOUND', ENOTDIR: 'NOT_FOUND', EACCES: 'DENIED' } as const;
    const errno = errnoOf(error) as keyof typeof code;
    const message = code[errno] === 'NOT_FOUND' ? 'no such file' : systemReason(error);
    throw new RafterError(code[errno] ?? 'FAILED', `${path}: ${message}`, {
      cause: error,
      ...(code[errno] === 'NOT_FOUND' && {
        hint: 'an archive is written oci-archive:FILE[:TAG] or docker-archive:FILE[:REF]',
      }),
    });
  }
  throw new RafterError('USAGE', `${path}: a directory where an archive was expected`, {
    hint: 'for an OCI layout write oci:DIR[:TAG]',
  });
}

/** The file itself if its tar can be read in place, else a copy that can; closes the one that is not returned. */
async function plainFile(handle: FileHandle, path: string, tempDir: string): Promise<FileHandle> {
  const info = await handle.stat();
  if (info.isFile()) {
    const head = Buffer.alloc(HEAD_SIZE);
    await handle.read(head, 0, HEAD_SIZE, 0);
    const unreadable = UNREADABLE.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
    if (unreadable !== undefined) {
      throw new RafterError('UNSUPPORTED', `${path}: an archive compressed with ${unreadable.name}`, {
        hint: `unpack it first: ${unreadable.name} -d`,
      });
    }
    if (detectLayerCompression(head) === 'none') return handle;
  }
  const copy = await openNameless(tempDir);
  try {
    const { tar } = await decompressLayer(Readable.from(readOn(handle), { objectMode: false }), path);
    for await (const piece of tar as AsyncIterable<Buffer>) await copy.writeFile(piece);
  } catch (error) {
    await copy.close();
    if (!isDiskFull(error)) throw error;
    throw new RafterError('NO_SPACE', `${tempDir}: no space to unpack ${path} (${errnoOf(error)})`, {
      cause: error,
      hint: 'name a directory with more space in TMPDIR',
    });
  }
  await handle.close();
  return copy;
}

/** What a file or pipe holds from its current position on. */
async function* readOn(handle: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(1 << 20), 0, 1 << 20, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
