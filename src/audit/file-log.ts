// The decision log as files: lines are gathered here and written in batches by a thread (log-worker.ts).
//
// While a write fails, new answers are refused: a decision that cannot be recorded is not given. What failed is tried again and lost by
// nothing but the end of the process.

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { PdpError, type PdpErrorCode } from '../errors.ts'
import { startThread } from '../threads.ts'
import type { DecisionLog } from './decision-log.ts'
import { LineChunks } from './line-chunks.ts'
import type { Recovered } from './log-recovery.ts'
import type { LogCommand, LogReply, LogWorkerData } from './log-worker.ts'
import type { Expired, RetentionRule } from './retention.ts'

export interface FileLogOptions extends Omit<LogWorkerData, 'isSynced'> {
  /**
   * `strict`: an answer waits until its record is on the disk. `durable`: each batch is synced before the next is written. `fast`: synced
   * with each checkpoint.
   */
  readonly guarantee: 'strict' | 'durable' | 'fast'
  /** Longest time that a line waits in memory, where no answer waits for it. Milliseconds. */
  readonly flushIntervalMs: number
  /** With more than this in memory nothing is answered. Bytes. */
  readonly maxPendingBytes: number
  readonly onError: (error: Error) => void
  /** Told of each signed checkpoint. Default: nobody is. */
  readonly onCheckpoint?: ((note: string) => void) | undefined
}

export interface FileLog extends DecisionLog {
  /** What a crash left of a line, and was cut; undefined: nothing. */
  readonly recovered: Recovered | undefined
  /**
   * Lets go of segments that a rule says are kept no longer. What says so is written and signed for first.
   * @param line the record of it
   * @returns what was removed; undefined: nothing
   * @throws PdpError ERR_LOG_UNAVAILABLE; Error of the file system
   */
  retire(rule: RetentionRule, line: (expired: Expired) => string): Promise<Expired | undefined>
  /** Of lines that are not written yet. */
  readonly pendingBytes: number
  /** Writes, syncs and checkpoints that failed. */
  readonly failures: number
  /** Of lines that will never be written, as their thread has ended. */
  readonly lostBytes: number
  /** The newest of this run; undefined: none yet. */
  readonly checkpoint: { readonly size: number; readonly atMs: number } | undefined
}

type Answered = Extract<LogReply, { readonly id: number }>
type WithoutId<T> = T extends LogCommand ? Omit<T, 'id'> : never
type Asked = WithoutId<LogCommand>
type Opened = Extract<LogReply, { opened: unknown }>['opened']

const retryMs = 500
/** A batch this large does not wait for the interval. */
const eagerBytes = 256 * 1024

/** @throws PdpError ERR_STATE_UNUSABLE when the folder cannot be made or read, ERR_LOG_BROKEN when it was changed */
export async function openFileLog(options: FileLogOptions): Promise<FileLog> {
  const unusable = (message: string, cause?: unknown) =>
    new PdpError('ERR_STATE_UNUSABLE', `the decision log \`${options.folder}\` cannot be used: ${message}`, { cause })
  try {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unusable((cause as Error).message, cause)
  }
  const { folder, maxFileBytes, maxFileAgeMs, origin, keys, checkpointIntervalMs, guarantee } = options
  const data: LogWorkerData = { folder, maxFileBytes, maxFileAgeMs, origin, keys, checkpointIntervalMs, isSynced: guarantee !== 'fast' }
  const worker = startThread('./log-worker', import.meta.url, data)
  const [reply] = (await once(worker, 'message')) as [LogReply]
  if ('opened' in reply) return new WorkerLog(options, worker, reply.opened)
  await worker.terminate()
  const { code, message } = 'failed' in reply ? reply.failed : { code: '', message: 'its thread does not start' }
  throw code === 'ERR_INTERNAL' || code === '' ? unusable(message) : new PdpError(code as PdpErrorCode, message)
}

class WorkerLog implements FileLog {
  readonly recovered: Recovered | undefined
  readonly #options: FileLogOptions
  readonly #worker: Worker
  #seq: number
  readonly #lines = new LineChunks()
  /** Bytes that are being written. */
  #underWayBytes = 0
  /** Those who wait for the next batch. */
  #waiters: PromiseWithResolvers<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #writing: Promise<void> | undefined
  #failing = false
  #failures = 0
  #lostBytes = 0
  #checkpoint: FileLog['checkpoint']
  #hasStopped = false
  #nextId = 1
  readonly #pending = new Map<number, (reply: Answered) => void>()

  constructor(options: FileLogOptions, worker: Worker, opened: Opened) {
    this.#options = options
    this.#worker = worker
    this.#seq = opened.lastSeq
    this.recovered = opened.recovered
    worker.on('message', (reply: LogReply) => this.#receive(reply))
    worker.on('error', (error) => this.#stopped(error))
    worker.on('exit', () => this.#stopped(new Error('the thread of the decision log ended')))
    worker.unref()
  }

  get available(): boolean {
    return !this.#failing && this.#lines.bytes + this.#underWayBytes < this.#options.maxPendingBytes
  }

  get pendingBytes(): number {
    return this.#lines.bytes + this.#underWayBytes
  }

  get failures(): number {
    return this.#failures
  }

  get lostBytes(): number {
    return this.#lostBytes
  }

  get checkpoint(): FileLog['checkpoint'] {
    return this.#checkpoint
  }

  nextSeq(): number {
    return ++this.#seq
  }

  append(line: string): Promise<void> | undefined {
    this.#lines.append(line)
    if (this.#options.guarantee !== 'strict') {
      if (this.#writing === undefined) this.#writeSoon()
      return undefined
    }
    if (this.#waiters === undefined) {
      this.#waiters = Promise.withResolvers<void>()
      // Nobody may be waiting, for a line that nothing was answered for.
      this.#waiters.promise.catch(() => {})
    }
    // Those of one turn share a batch.
    if (this.#writing === undefined && !this.#failing) this.#immediate ??= setImmediate(() => this.#write())
    return this.#waiters.promise
  }

  async flush(): Promise<void> {
    while (this.#lines.bytes > 0 || this.#writing !== undefined) {
      if (this.#failing) throw unavailable()
      this.#write()
      await this.#writing
    }
    const { failure } = await this.#ask({ op: 'settle' })
    if (failure !== undefined) throw unavailable()
  }

  async retire(rule: RetentionRule, line: (expired: Expired) => string): Promise<Expired | undefined> {
    const { expired, failure } = await this.#ask({ op: 'expired', rule })
    if (failure !== undefined) throw new Error(failure)
    if (expired === undefined) return undefined
    void this.append(line(expired))
    await this.#written()
    const removed = await this.#ask({ op: 'remove', before: expired.before })
    if (removed.failure !== undefined) throw new Error(removed.failure)
    return expired
  }

  /** All that was appended until now is written; what comes meanwhile may be. */
  async #written(): Promise<void> {
    // One that is under way may not have it, the one behind it has.
    await this.#writing
    this.#write()
    await this.#writing
    if (this.#failing) throw unavailable()
  }

  async close(): Promise<void> {
    try {
      await this.flush()
      await this.#ask({ op: 'close' })
    } finally {
      clearTimeout(this.#timer)
      clearImmediate(this.#immediate)
      this.#hasStopped = true
      await this.#worker.terminate()
    }
  }

  #writeSoon(): void {
    if (this.#lines.bytes >= eagerBytes) this.#write()
    else if (this.#lines.bytes > 0) this.#timer ??= setTimeout(() => this.#write(), this.#options.flushIntervalMs)
  }

  #write(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    clearImmediate(this.#immediate)
    this.#immediate = undefined
    if (this.#writing !== undefined || this.#lines.bytes === 0) return
    this.#underWayBytes = this.#lines.bytes
    const waiters = this.#waiters
    this.#waiters = undefined
    const chunks = this.#lines.take()
    this.#writing = this.#ask(
      { op: 'write', chunks },
      chunks.map(({ buffer }) => buffer),
    ).then(({ chunks: back = [], failure }) => {
      const batch = back.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength))
      this.#underWayBytes = 0
      this.#writing = undefined
      if (failure === undefined) {
        this.#lines.release(batch)
        this.#failing = false
        waiters?.resolve()
        if (this.#waiters === undefined) this.#writeSoon()
        else this.#write()
        return
      }
      this.#lines.putBack(batch)
      this.#failures++
      if (!this.#failing) this.#options.onError(new Error(failure))
      this.#failing = true
      waiters?.reject(unavailable())
      this.#waiters?.reject(unavailable())
      this.#waiters = undefined
      this.#timer ??= setTimeout(() => this.#write(), retryMs).unref()
    })
  }

  #ask(command: Asked, transfer: readonly ArrayBuffer[] = []): Promise<Answered> {
    const id = this.#nextId++
    const { promise, resolve } = Promise.withResolvers<Answered>()
    if (this.#hasStopped) resolve({ id, failure: 'the thread of the decision log has ended' })
    else {
      this.#pending.set(id, resolve)
      // While something waits the process does not end by itself.
      this.#worker.ref()
      this.#worker.postMessage({ id, ...command } as LogCommand, [...transfer])
    }
    return promise
  }

  #receive(reply: LogReply): void {
    if ('id' in reply) {
      this.#pending.get(reply.id)?.(reply)
      this.#pending.delete(reply.id)
      if (this.#pending.size === 0) this.#worker.unref()
    } else if ('checkpoint' in reply) {
      this.#checkpoint = { size: reply.size, atMs: Date.now() }
      this.#options.onCheckpoint?.(reply.checkpoint)
    } else if ('checkpointFailure' in reply) {
      this.#failures++
      this.#options.onError(new Error(`no checkpoint can be made: ${reply.checkpointFailure}`))
    }
  }

  /** Without its thread there is no log; what it had not written yet is gone, and nothing is answered any longer. */
  #stopped(error: Error): void {
    if (this.#hasStopped) return
    this.#hasStopped = true
    this.#failing = true
    this.#failures++
    this.#lostBytes = this.pendingBytes
    this.#options.onError(error)
    for (const [id, resolve] of this.#pending) resolve({ id, failure: error.message })
    this.#pending.clear()
  }
}

function unavailable(): PdpError {
  return new PdpError('ERR_LOG_UNAVAILABLE', 'the decision log cannot be written')
}
