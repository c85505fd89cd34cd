import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const project = resolve(import.meta.dirname, '../..');

/** The program that is measured. */
export const rafter = join(project, 'bin/rafter');

/**
 * The layout and the tag of an image that is named LAYOUT:TAG.
 * @param {string} image
 */
export function splitImage(image) {
  const at = image.lastIndexOf(':');
  if (at < 1) throw new Error(`${image}: name an image as LAYOUT:TAG`);
  return { layout: resolve(image.slice(0, at)), tag: image.slice(at + 1) };
}

/** The image that quickstart builds, as LAYOUT:TAG. */
export function builtImage() {
  const own = join(project, '.cache/images');
  if (existsSync(own)) return `${own}:python`;
  throw new Error('no image: run bin/quickstart first, which builds one, or name a LAYOUT:TAG');
}
