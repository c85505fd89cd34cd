import { attachLoop, type LoopDevice } from './loop.js';
import { type ErofsMount, mountErofs } from './mount-erofs.js';

/**
 * As `mountErofs`, of files, where the kernel takes only block devices: each file, of whole blocks of `LOOP_BLOCK_SIZE`, gets a
 * loop device that goes with the mount. None stays when this fails. Throws also what `attachLoop` throws.
 */
export async function mountErofsOnLoops({ bootstrap, devices, target }: ErofsMount): Promise<void> {
  const loops: LoopDevice[] = [];
  try {
    for (const file of [bootstrap, ...devices]) loops.push(await attachLoop(file));
    const [first = '', ...others] = loops.map(({ path }) => path);
    await mountErofs({ bootstrap: first, devices: others, target });
  } finally {
    for (const loop of loops) await loop.close();
  }
}
