import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const TAG = 'org.opencontainers.image.ref.name';

/**
 * The same image with another command, as a layout in the directory `dir`, which must not be there. Its layers are links to the others.
 * @param {{ layout: string, tag: string }} image for one platform
 * @param {string[]} command
 * @param {string} dir
 * @returns {{ layout: string, tag: string }}
 */
export function withCommand({ layout, tag }, command, dir) {
  const blobs = join(dir, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  for (const name of readdirSync(join(layout, 'blobs/sha256')))
    link(join(layout, 'blobs/sha256', name), join(blobs, name));
  const read = ({ digest }) =>
    JSON.parse(readFileSync(join(layout, 'blobs/sha256', digest.slice(7)), 'utf8'));
  const store = (descriptor, value) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { ...descriptor, digest: `sha256:${hex}`, size: bytes.length };
  };
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
  const entry = index.manifests.find(({ annotations }) => annotations?.[TAG] === tag);
  if (entry === undefined) throw new Error(`${layout}: no image ${tag}`);
  const manifest = read(entry);
  const { config, ...rest } = read(manifest.config);
  const changed = { ...rest, config: { ...config, Entrypoint: [], Cmd: command } };
  const named = store(entry, { ...manifest, config: store(manifest.config, changed) });
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ ...index, manifests: [named] }));
  writeFileSync(join(dir, 'oci-layout'), readFileSync(join(layout, 'oci-layout')));
  return { layout: dir, tag };
}

/** Another file system gets symbolic links. */
function link(from, to) {
  try {
    linkSync(from, to);
  } catch (error) {
    if (error.code !== 'EXDEV') throw error;
    symlinkSync(from, to);
  }
}
