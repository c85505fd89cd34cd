import { loadNative } from './native-package.js';

type Koffi = typeof import('koffi');
type KoffiFunction = ReturnType<ReturnType<Koffi['load']>['func']>;

/** What a call on another thread returned, and its errno if that is -1. */
interface AsideResult {
  result: number;
  errno: number;
}

/** The C functions that this program calls. Pointers are addresses (bigint) or Buffers; -1 means: see `errno()`. */
export interface Libc {
  mount(source: string, target: string, type: string, flags: number, data: string | null): number;
  /** The same on another thread. */
  mountAside(...args: Parameters<Libc['mount']>): Promise<AsideResult>;
  umount2(target: string, flags: number): number;
  /** The same on another thread. */
  umount2Aside(...args: Parameters<Libc['umount2']>): Promise<AsideResult>;
  flock(fd: number, operation: number): number;
  fcntl(fd: number, command: number, value: number): number;
  ioctl(fd: number, request: number, argument: Buffer): number;
  /** The same on another thread. */
  ioctlAside(...args: Parameters<Libc['ioctl']>): Promise<AsideResult>;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  memcpy(target: bigint | Buffer, source: bigint | Buffer, size: number): bigint;
  strlen(text: bigint): number | bigint;
  lsetxattr(path: Buffer, name: Buffer, value: Buffer, size: number, flags: number): number;
  llistxattr(path: Buffer, list: Buffer, size: number): number | bigint;
  lgetxattr(path: Buffer, name: Buffer, value: Buffer, size: number): number | bigint;
  /** On another thread: who serves the file may be this one. */
  llistxattrAside(path: Buffer, list: Buffer, size: number): Promise<AsideResult>;
  lgetxattrAside(path: Buffer, name: Buffer, value: Buffer, size: number): Promise<AsideResult>;
  mknod(path: Buffer, mode: number, device: number): number;
  utimensat(directory: number, path: Buffer, times: Buffer, flags: number): number;
  syncfs(fd: number): number;
  syncFileRangeAside(fd: number, offset: number, length: number, flags: number): Promise<AsideResult>;
  malloc_trim(pad: number): number;
  read(fd: number, target: Buffer, size: number): number;
  write(fd: number, bytes: Buffer, size: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Buffer | null): number;
  epoll_wait(epoll: number, events: Buffer, room: number, milliseconds: number): number;
  eventfd(start: number, flags: number): number;
  pthread_tryjoin_np(thread: bigint, result: null): number;
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number;
  socket(family: number, type: number, protocol: number): number;
  sendto(
    fd: number,
    bytes: Buffer,
    size: number,
    flags: number,
    address: Buffer,
    addressSize: number,
  ): number;
  /** errno of the last call that returned -1. Meaningless after any other call. */
  errno(): number;
}

let koffiModule: Koffi | undefined;
let functions: Libc | undefined;

/** koffi itself. Loaded on first use: it costs start time that commands which never mount need not pay. */
export function koffi(): Koffi {
  const { arch } = process;
  koffiModule ??= loadNative<Koffi>('koffi', `@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`);
  return koffiModule;
}

/** The C library, bound on first use. */
export function libc(): Libc {
  functions ??= bind(koffi());
  return functions;
}

function bind(ffi: Koffi): Libc {
  const library = ffi.load('libc.so.6');
  const mount = library.func('int mount(const char*, const char*, const char*, unsigned long, const char*)');
  const umount2 = library.func('int umount2(const char*, int)');
  const ioctl = library.func('int ioctl(int, unsigned long, void *)');
  const llistxattr = library.func('int64_t llistxattr(void *, void *, size_t)');
  const lgetxattr = library.func('int64_t lgetxattr(void *, void *, void *, size_t)');
  const aside =
    <Args extends unknown[]>(call: KoffiFunction) =>
    (...args: Args) =>
      new Promise<AsideResult>((resolve, reject) => {
        call.async(...args, (error: unknown, result: number | bigint) =>
          error ? reject(error) : resolve({ result: Number(result), errno: ffi.errno() }),
        );
      });
  return {
    mount,
    mountAside: aside(mount),
    umount2,
    umount2Aside: aside(umount2),
    flock: library.func('int flock(int, int)'),
    fcntl: library.func('int fcntl(int, int, int)'),
    ioctl,
    ioctlAside: aside(ioctl),
    fallocate: library.func('int fallocate(int, int, int64_t, int64_t)'),
    memcpy: library.func('memcpy', 'uintptr_t', ['void *', 'void *', 'size_t']),
    strlen: library.func('strlen', 'size_t', ['void *']),
    llistxattr,
    llistxattrAside: aside(llistxattr),
    lgetxattr,
    lgetxattrAside: aside(lgetxattr),
    lsetxattr: library.func('int lsetxattr(void *, void *, void *, size_t, int)'),
    mknod: library.func('int mknod(void *, unsigned int, uint64_t)'),
    utimensat: library.func('int utimensat(int, void *, void *, int)'),
    syncfs: library.func('int syncfs(int)'),
    syncFileRangeAside: aside(library.func('int sync_file_range(int, int64_t, int64_t, unsigned int)')),
    malloc_trim: library.func('int malloc_trim(size_t)'),
    read: library.func('int64_t read(int, void *, size_t)'),
    write: library.func('int64_t write(int, void *, size_t)'),
    epoll_create1: library.func('int epoll_create1(int)'),
    epoll_ctl: library.func('int epoll_ctl(int, int, int, void *)'),
    epoll_wait: library.func('int epoll_wait(int, void *, int, int)'),
    eventfd: library.func('int eventfd(unsigned int, int)'),
    pthread_tryjoin_np: library.func('int pthread_tryjoin_np(uintptr_t, void *)'),
    getsockopt: library.func('int getsockopt(int, int, int, void *, void *)'),
    socket: library.func('int socket(int, int, int)'),
    sendto: library.func('int64_t sendto(int, void *, size_t, int, void *, unsigned int)'),
    errno: () => ffi.errno(),
  };
}
