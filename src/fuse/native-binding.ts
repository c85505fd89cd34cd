import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { RafterError } from '../errors.js';
import { preloadLibrary } from '../os/memory.js';

/** One request of a libfuse thread, which waits until it is signalled. See `native-request.ts`. */
export type RequestHandle = Buffer;

/** Called on the main thread for each request: the handle, the operation's number, and its decoded arguments. */
export type NativeHandler = (request: RequestHandle, operation: number, ...args: never[]) => void;

/** The operations that this program serves; each has a number `op_<name>` in the addon. */
type OperationName =
  | 'init'
  | 'statfs'
  | 'getattr'
  | 'readdir'
  | 'readlink'
  | 'getxattr'
  | 'listxattr'
  | 'read'
  | 'access';

type OperationNumbers = { readonly [Name in OperationName as `op_${Name}`]: number };

/** The addon of fuse-native 2.2.6, below the JavaScript class that the package exports. */
export interface FuseNativeBinding extends OperationNumbers {
  readonly sizeof_fuse_thread_t: number;
  /**
   * Mounts with libfuse and starts its threads. `options` is "-o" and a comma separated list; `thread` is memory that
   * must live as long as the process; `handlers` and `implemented` are indexed by operation number.
   * Throws "fuse failed"; libfuse has written the reason to standard error.
   */
  fuse_native_mount(
    mountPoint: string,
    options: string,
    thread: Buffer,
    context: object,
    malloc: (size: number) => Buffer,
    handlers: NativeHandler[],
    implemented: Uint32Array,
  ): void;
  /** Lets the process end although the mount was there. Unmounts nothing. */
  fuse_native_unmount(mountPoint: string, thread: Buffer): void;
  fuse_native_signal_init(request: RequestHandle, result: number): void;
  /** Answers with a bare number: what every operation without buffers needs. */
  fuse_native_signal_access(request: RequestHandle, result: number): void;
  /** The last argument is the memory that the request lent; it is detached. */
  fuse_native_signal_read(
    request: RequestHandle,
    result: number,
    length: number,
    lent: ArrayBufferLike,
  ): void;
  fuse_native_signal_getxattr(request: RequestHandle, result: number, lent: ArrayBufferLike): void;
  fuse_native_signal_listxattr(request: RequestHandle, result: number, lent: ArrayBufferLike): void;
}

let binding: FuseNativeBinding | undefined;

/**
 * Loads fuse-native's addon, on first use.
 *
 * The package brings the libfuse that the addon is linked with. It is loaded first, from beside the addon, so that
 * the system needs no libfuse 2 of its own. The addon uses the process's default event loop: in a worker thread it
 * would end the process.
 * Throws UNSUPPORTED if the addon has no build for this machine.
 */
export function loadBinding(): FuseNativeBinding {
  if (!isMainThread) throw new Error('fuse-native works on the main thread only');
  binding ??= load();
  return binding;
}

function load(): FuseNativeBinding {
  if (process.arch !== 'x64')
    throw new RafterError('UNSUPPORTED', `mounting through libfuse works on x64, this is ${process.arch}`);
  try {
    const require = createRequire(import.meta.url);
    const entry = require.resolve('fuse-native');
    const builds = createRequire(entry)('node-gyp-build') as {
      (folder: string): FuseNativeBinding;
      path(folder: string): string;
    };
    preloadLibrary(join(dirname(builds.path(dirname(entry))), 'libfuse.so'));
    return builds(dirname(entry));
  } catch (cause) {
    throw new RafterError('UNSUPPORTED', 'cannot load fuse-native', {
      cause,
      hint: "run 'npm rebuild fuse-native' and look at its messages",
    });
  }
}
