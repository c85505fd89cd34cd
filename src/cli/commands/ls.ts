import type { Command } from 'commander';
import type { ListEntry } from '../../inspect/list.js';
import type { Bootstrap } from '../../rafs/bootstrap.js';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { formatMode, formatTime } from '../inode-format.js';
import { jsonName, showName } from '../names.js';
import { stdout, writeStdout } from '../stdout.js';

interface LsCliOptions extends ImageCliOptions {
  long: boolean;
  recursive: boolean;
}

/** Listings are written in pieces of so many bytes. */
const PIECE_SIZE = 64 << 10;

/** `rafter ls IMAGE [PATH]` */
export function defineLs(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('ls')
    .description('list the files of a converted image without mounting it')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('[path]', 'a directory or file in the image', '/')
    .option('-l, --long', 'with mode, links, owner, size, time and target', false)
    .option('-R, --recursive', 'everything below the directory', false)
    .addHelpText(
      'after',
      `
Manifest, configuration and metadata are downloaded, no file data. With --json: one object per line. Names that could
steer a terminal are escaped on a terminal, and only there.

Example:
  rafter ls -lR registry.example.com/python:3.12-nydus /usr/lib`,
    );
  addImageOptions(command).action(async (image: string, path: string, options: LsCliOptions) =>
    setExitCode(await withContext(command, (context) => list(context, image, path, options))),
  );
}

async function list(
  { output, signal }: CommandContext,
  image: string,
  path: string,
  options: LsCliOptions,
): Promise<number> {
  const [{ openImage }, { listImage }] = await Promise.all([
    import('../../inspect/open-image.js'),
    import('../../inspect/list.js'),
  ]);
  return withSource(image, options, async (source) => {
    const { bootstrap, name } = await openImage(source, { platform: options.platform, signal });
    const format = output.json ? jsonLine : options.long ? longLine : shortLine;
    let lines: Buffer[] = [];
    let size = 0;
    const flush = async () => {
      await writeStdout(Buffer.concat(lines));
      lines = [];
      size = 0;
    };
    for (const entry of listImage(bootstrap, Buffer.from(path), { recursive: options.recursive, name })) {
      const line = format(bootstrap, entry);
      lines.push(line);
      size += line.length;
      if (size >= PIECE_SIZE) await flush();
    }
    await flush();
    return EXIT.ok;
  });
}

function shortLine(_: Bootstrap, { name }: ListEntry): Buffer {
  return Buffer.concat([showName(name, stdout().isTTY), Buffer.from('\n')]);
}

function longLine(bootstrap: Bootstrap, { name, inode }: ListEntry): Buffer {
  const { mode, nlink, uid, gid, rdev, size } = inode;
  const shownSize = rdev ? `${rdev.major}, ${rdev.minor}` : String(size);
  const columns = [
    formatMode(mode),
    String(nlink).padStart(3),
    `${uid}:${gid}`.padEnd(9),
    shownSize.padStart(11),
    formatTime(inode),
  ];
  const terminal = stdout().isTTY;
  const target = inode.type === 'symlink' ? [' -> ', showName(bootstrap.readlink(inode), terminal)] : [];
  const parts = [`${columns.join(' ')} `, showName(name, terminal), ...target, '\n'];
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

function jsonLine(bootstrap: Bootstrap, { path, inode }: ListEntry): Buffer {
  const { type, mode, nlink, uid, gid, size, rdev } = inode;
  const entry = {
    ...jsonName('path', path),
    type,
    mode: (mode & 0o7777).toString(8).padStart(4, '0'),
    uid,
    gid,
    nlink,
    ...(type === 'file' && { size }),
    mtime: formatTime(inode, { nanoseconds: true }),
    ...(rdev && { rdev: [rdev.major, rdev.minor] }),
    ...(type === 'symlink' && jsonName('target', bootstrap.readlink(inode))),
  };
  return Buffer.from(`${JSON.stringify(entry)}\n`);
}
