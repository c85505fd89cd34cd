import { systemReason } from '../../os/system-error.js';
import type { Trace } from '../../trace/trace.js';
import type { MountInfo, MountRequest } from '../api/api.js';
import type { DaemonLog } from '../daemon-log.js';
import type { NydusImage } from '../image/nydus-image.js';
import { writeTraceFile } from './trace-file.js';
import { journalPath, keepJournal, readJournal, type TraceJournal } from './trace-journal.js';
import { clock, shareTrace, TraceMemory } from './trace-memory.js';

/** What the trace of a mount needs to know. */
export interface TraceSurroundings {
  image: NydusImage;
  request: MountRequest;
  /** Directory for traces of mounts that are there, in the run directory. */
  traceDir: string;
  log: DaemonLog;
}

/** The trace of one mount, from the request to mount on. */
export class MountTrace {
  /** Where reads are noted. */
  readonly memory: TraceMemory;
  readonly #around: TraceSurroundings;
  readonly #startedAt: string;
  /** Set once there is something to trace. */
  #running: { info: MountInfo; journal: TraceJournal } | undefined;
  #finished: Promise<void> | undefined;

  /** `startedAt`: when the mount was asked for, as `Date.now()` gives it. */
  constructor(around: TraceSurroundings, startedAt: number) {
    const sizes = around.image.blobs.map(({ layout }) => layout.decodedSize);
    this.#around = around;
    this.#startedAt = new Date(startedAt).toISOString();
    this.memory = new TraceMemory(shareTrace(sizes, clock() - (Date.now() - startedAt)));
  }

  /** The mount is there, as `info` says. */
  begin(info: MountInfo): void {
    const header = this.#describe(info);
    this.#running = { info, journal: this.#journal(info, { header }) };
  }

  /** Goes on with what another daemon traced of the mount; what it had not written down is lost. */
  static async resume(around: TraceSurroundings, info: MountInfo): Promise<MountTrace> {
    const { traceDir, log } = around;
    const left = await readJournal(journalPath(traceDir, info.id)).catch((error: unknown) => {
      log.error('the trace of a mount begins anew', { id: info.id, error });
      return undefined;
    });
    const trace = new MountTrace(around, Date.parse(left?.startedAt ?? info.mountedAt));
    trace.memory.restore(left?.touches ?? []);
    const how = left === undefined ? { header: trace.#describe(info) } : { known: left.touches.length };
    trace.#running = { info, journal: trace.#journal(info, how) };
    return trace;
  }

  /** What was read until now. */
  current(): Trace {
    if (this.#running === undefined) throw new Error('the image is not mounted yet');
    const { lost } = this.memory;
    return {
      ...this.#describe(this.#running.info),
      ...(lost > 0 && { lost }),
      touches: this.memory.touches(),
    };
  }

  /** Writes down what a successor of this daemon needs. */
  async save(): Promise<void> {
    await this.#running?.journal.flush();
  }

  /** The mount is gone: writes the file that was asked for. What fails is in the log and in the mount's `traceError`. */
  finish(): Promise<void> {
    this.#finished ??= this.#finish();
    return this.#finished;
  }

  async #finish(): Promise<void> {
    if (this.#running === undefined) return;
    const { info, journal } = this.#running;
    const { request, log } = this.#around;
    const { file, owner } = request.trace ?? {};
    try {
      if (file !== undefined) await writeTraceFile(file, this.current(), owner && { owner });
    } catch (error) {
      log.error('cannot write a trace', { id: info.id, file, error });
      info.traceError = `the trace ${file} could not be written: ${systemReason(error)}`;
    }
    await journal.remove();
  }

  #describe({ reference, digest, driver, transport, readAheadKiB }: MountInfo): Trace {
    return {
      reference,
      manifest: digest,
      blobs: this.#around.image.blobs.map(({ layout }) => layout.id),
      driver,
      ...(transport !== undefined && { transport }),
      ...(readAheadKiB !== undefined && { readAheadKiB }),
      startedAt: this.#startedAt,
      touches: [],
    };
  }

  #journal(info: MountInfo, how: { header: Trace } | { known: number }): TraceJournal {
    const { traceDir, log } = this.#around;
    const onError = (error: unknown) =>
      log.error('the trace of a mount would not survive this daemon', { id: info.id, error });
    return keepJournal(journalPath(traceDir, info.id), this.memory, { ...how, onError });
  }
}
