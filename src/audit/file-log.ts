// The decision log as files of one line a record: written in batches off the answering path, rotated by size and age.
//
// A failed write is taken back (the file is cut to its last whole batch) and tried again, while new answers are
// refused: a decision that cannot be recorded is not given. A partial line never stays in a file.
import { mkdirSync, readdirSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import type { DecisionLog } from './decision-log.ts'
import { LineChunks, withoutFirst } from './line-chunks.ts'

export interface FileLogOptions {
  readonly folder: string
  /** A file that reached this size is followed by a new one. Bytes. */
  readonly maxFileBytes: number
  /** A file that is older than this is followed by a new one. Milliseconds. */
  readonly maxFileAgeMs: number
  /** Longest time that a line waits in memory. Milliseconds. */
  readonly flushIntervalMs: number
  /** With more than this in memory nothing is answered. Bytes. */
  readonly maxPendingBytes: number
  readonly onError: (error: Error) => void
}

const retryMs = 500
/** A batch this large does not wait for the interval. */
const eagerBytes = 256 * 1024
const tailBytes = 1024 * 1024

interface OpenFile {
  readonly handle: FileHandle
  readonly openedAtMs: number
  bytes: number
}

/** @throws PdpError ERR_STATE_UNUSABLE when the folder cannot be made or read */
export async function openFileLog(options: FileLogOptions): Promise<DecisionLog> {
  try {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
    return new FileLog(options, await lastSeq(options.folder))
  } catch (cause) {
    throw new PdpError('ERR_STATE_UNUSABLE', `the decision log \`${options.folder}\` cannot be used: ${(cause as Error).message}`, {
      cause,
    })
  }
}

class FileLog implements DecisionLog {
  readonly #options: FileLogOptions
  #seq: number
  readonly #lines = new LineChunks()
  /** Bytes that are being written. */
  #underWayBytes = 0
  #file: OpenFile | undefined
  #fileCount = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined
  #failing = false

  constructor(options: FileLogOptions, lastSeq: number) {
    this.#options = options
    this.#seq = lastSeq
  }

  get available(): boolean {
    return !this.#failing && this.#lines.bytes + this.#underWayBytes < this.#options.maxPendingBytes
  }

  nextSeq(): number {
    return ++this.#seq
  }

  append(line: string): void {
    this.#lines.append(line)
    if (this.#writing === undefined) this.#writeSoon()
  }

  async flush(): Promise<void> {
    while (this.#lines.bytes > 0 || this.#writing !== undefined) {
      if (this.#failing) throw new PdpError('ERR_LOG_UNAVAILABLE', 'the decision log cannot be written')
      this.#write()
      await this.#writing
    }
    await this.#file?.handle.sync()
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      clearTimeout(this.#timer)
      await this.#file?.handle.close()
      this.#file = undefined
    }
  }

  #writeSoon(): void {
    if (this.#lines.bytes >= eagerBytes) this.#write()
    else if (this.#lines.bytes > 0) this.#timer ??= setTimeout(() => this.#write(), this.#options.flushIntervalMs)
  }

  #write(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#writing !== undefined || this.#lines.bytes === 0) return
    this.#underWayBytes = this.#lines.bytes
    const batch = this.#lines.take()
    this.#writing = this.#writeBatch(batch).then(
      () => {
        this.#lines.release(batch)
        this.#underWayBytes = 0
        this.#failing = false
        this.#writing = undefined
        this.#writeSoon()
      },
      (error: Error) => {
        this.#lines.putBack(batch)
        this.#underWayBytes = 0
        if (!this.#failing) this.#options.onError(error)
        this.#failing = true
        this.#writing = undefined
        this.#timer ??= setTimeout(() => this.#write(), retryMs)
        this.#timer.unref()
      },
    )
  }

  async #writeBatch(batch: readonly Buffer[]): Promise<void> {
    const file = await this.#currentFile()
    let end = file.bytes
    try {
      // All at once: a write for each chunk would wait for a turn of the event loop each time, and a busy loop has few.
      for (let rest = batch; rest.length > 0; ) {
        const { bytesWritten } = await file.handle.writev(rest, end)
        end += bytesWritten
        rest = withoutFirst(rest, bytesWritten)
      }
      file.bytes = end
    } catch (error) {
      await file.handle.truncate(file.bytes).catch(() => {})
      throw error
    }
  }

  async #currentFile(): Promise<OpenFile> {
    const now = Date.now()
    const file = this.#file
    if (file !== undefined && file.bytes < this.#options.maxFileBytes && now - file.openedAtMs < this.#options.maxFileAgeMs) return file
    const name = `decisions-${new Date(now).toISOString().replaceAll(/[-:]/g, '')}-${String(++this.#fileCount).padStart(6, '0')}.ndjson`
    const handle = await open(join(this.#options.folder, name), 'wx', 0o600)
    this.#file = { handle, openedAtMs: now, bytes: 0 }
    await file?.handle.sync()
    await file?.handle.close()
    return this.#file
  }
}

/** The highest number that an earlier run has written: from the last whole line of the newest file that has one. */
async function lastSeq(folder: string): Promise<number> {
  const names = readdirSync(folder).filter((name) => /^decisions-.*\.ndjson$/.test(name))
  for (const name of names.sort().reverse()) {
    const handle = await open(join(folder, name), 'r')
    try {
      const { size } = await handle.stat()
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.min(size, tailBytes)), 0, null, Math.max(0, size - tailBytes))
      const lines = buffer.toString('utf8', 0, bytesRead).split('\n').slice(0, -1)
      const seq = /^\{"id":"[^"]*","seq":(\d+),/.exec(lines.at(-1) ?? '')?.[1]
      if (seq !== undefined) return Number(seq)
    } finally {
      await handle.close()
    }
  }
  return 0
}
