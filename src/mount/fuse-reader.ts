import { parentPort, workerData } from 'node:worker_threads';
import { readDevices } from '../fuse/device-reader.js';
import { openSharedView, type SharedView } from './shared-view.js';

// The worker thread that reads the requests of all FUSE mounts of a daemon; `DeviceServer` starts it.
if (parentPort === null) throw new Error('this file is a worker');
readDevices(parentPort, workerData, (spec) => openSharedView(spec as SharedView));
parentPort.close();
