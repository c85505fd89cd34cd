// A reading thread that knows no file system: everything is passed on to the main thread. Runs from what is built.
import { parentPort, workerData } from 'node:worker_threads';
import { readDevices } from '../../dist/fuse/device-reader.js';

readDevices(parentPort, workerData, {
  setUp() {
    throw new Error('no file system here');
  },
  // Counts down, one by each part.
  begin({ parts, fails }) {
    let left = parts;
    return () => {
      if (fails) throw new Error('as it was told');
      return --left > 0 ? undefined : `done in ${parts}`;
    };
  },
});
parentPort.close();
