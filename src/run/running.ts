/** What running a container needs and mounting its image does not, in one file of the bundle. */
export { resolveCommand } from './command.js';
export { runImage } from './run-image.js';
