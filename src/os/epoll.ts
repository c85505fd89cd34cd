import { systemError } from './errno.js';
import { libc } from './libc.js';

/** Operations of epoll_ctl(2) and the event that is waited for: there is something to read. */
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
/** struct epoll_event is packed on x86-64 only. */
const EVENT_SIZE = process.arch === 'x64' ? 12 : 16;
const DATA_AT = process.arch === 'x64' ? 4 : 8;
const MAX_EVENTS = 64;

/**
 * Waits in this thread for many descriptors at once (epoll(7)); level-triggered. For worker threads: the main thread has an
 * event loop of its own.
 */
export class Epoll {
  readonly #fd: number;
  readonly #events = Buffer.alloc(EVENT_SIZE * MAX_EVENTS);

  constructor() {
    this.#fd = libc().epoll_create1(EPOLL_CLOEXEC);
    if (this.#fd < 0) throw systemError(libc().errno(), 'make an epoll descriptor');
  }

  /** Waits for `fd` too. */
  add(fd: number): void {
    const event = Buffer.alloc(EVENT_SIZE);
    event.writeUInt32LE(EPOLLIN, 0);
    event.writeUInt32LE(fd, DATA_AT);
    if (libc().epoll_ctl(this.#fd, EPOLL_CTL_ADD, fd, event) !== 0)
      throw systemError(libc().errno(), `wait for descriptor ${fd}`);
  }

  remove(fd: number): void {
    // A descriptor that was closed is out already.
    libc().epoll_ctl(this.#fd, EPOLL_CTL_DEL, fd, null);
  }

  /** Those descriptors that have something to read, are hung up or failed; blocks until there is one, or, told not to, not at all. */
  wait({ block = true } = {}): number[] {
    const count = libc().epoll_wait(this.#fd, this.#events, MAX_EVENTS, block ? -1 : 0);
    // EINTR: a debugger or profiler passed by.
    if (count < 0) return [];
    return Array.from({ length: count }, (_, i) => this.#events.readUInt32LE(i * EVENT_SIZE + DATA_AT));
  }
}

/** A descriptor for waking a thread that waits: written to by one, read by the other (eventfd(2)). Never blocks. */
export function openEventFd(): number {
  const fd = libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw systemError(libc().errno(), 'make an event descriptor');
  return fd;
}
