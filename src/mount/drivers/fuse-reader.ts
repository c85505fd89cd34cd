import { parentPort, workerData } from 'node:worker_threads';
import { readDevices } from '../../fuse/device-reader.js';
import { openLocalBlobs } from './blob-directory.js';
import { openSharedView, type ReaderSpec } from './shared-view.js';
import { lookInParts, type TreeWork } from './tree-work.js';

// The worker thread that reads the requests of all FUSE mounts of a daemon; `DeviceServer` starts it.
if (parentPort === null) throw new Error('this file is a worker');
readDevices(parentPort, workerData, {
  setUp(spec) {
    const described = spec as ReaderSpec;
    return described.kind === 'blobs' ? openLocalBlobs() : openSharedView(described);
  },
  begin: (work) => lookInParts(work as TreeWork),
});
parentPort.close();
