// A reading thread that knows no file system: everything is passed on to the main thread. Runs from what is built.
import { parentPort, workerData } from 'node:worker_threads';
import { readDevices } from '../../dist/fuse/device-reader.js';

readDevices(parentPort, workerData, () => {
  throw new Error('no file system here');
});
parentPort.close();
