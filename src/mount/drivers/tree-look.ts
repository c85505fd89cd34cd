import type { DeviceServer } from '../../fuse/device-server.js';
import type { Bootstrap } from '../../rafs/bootstrap.js';
import type { ImageTree } from '../image/nydus-image.js';
import { isUnchecked } from './kernel-check.js';
import type { TreeWork } from './tree-work.js';

/** Quick looks at trees (see `isSoundTree`) that the reading thread takes while this one gets everything else ready for a mount. */
export interface TreeLooks {
  /** Begins to look at a tree that nobody has checked yet. */
  begin(tree: ImageTree): void;
  /** What it came to; undefined if nobody has looked. */
  of(bootstrap: Bootstrap): Promise<boolean | undefined>;
}

export function createTreeLooks(server: () => DeviceServer): TreeLooks {
  const looks = new WeakMap<Bootstrap, Promise<unknown>>();
  return {
    begin({ bootstrap, bytes }) {
      if (!isUnchecked(bootstrap) || looks.has(bootstrap)) return;
      const work: TreeWork = { name: bootstrap.name, bootstrap: bytes };
      looks.set(bootstrap, server().work(work));
    },

    async of(bootstrap) {
      const found = await looks.get(bootstrap);
      return typeof found === 'boolean' ? found : undefined;
    },
  };
}
