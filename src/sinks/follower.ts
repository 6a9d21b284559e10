// Follows the decision log from a cursor that is kept beside it, and hands its lines on, in order: each at least once, also across restarts.
// Never holds up an answer: it reads what is written. What a sink refuses for good is put aside where it can be seen, and the rest goes on.

import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { appendSynced, writeWhole } from '../audit/durable-files.ts'
import { listSegments, nextLines, type Place } from '../audit/log-files.ts'
import { growingPauseMs } from '../network/growing-pause.ts'

/** Takes lines on; resolves when they have arrived. */
export type Deliver = (lines: readonly string[], signal: AbortSignal) => Promise<void>

/** What would be refused again: these lines, as they are. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

export interface FollowerOptions {
  readonly name: string
  readonly folder: string
  readonly deliver: Deliver
  readonly maxLines: number
  readonly maxBytes: number
  readonly onError: (error: Error) => void
}

export interface FollowerCounts {
  delivered: number
  /** Put aside. */
  dead: number
  failures: number
}

const pollMs = 200
const [minDelayMs, maxDelayMs] = [200, 30_000]
const requestTimeoutMs = 30_000

export class LogFollower {
  readonly counts: FollowerCounts = { delivered: 0, dead: 0, failures: 0 }
  readonly #options: FollowerOptions
  readonly #closing = new AbortController()
  readonly #cursorPath: string
  readonly #deadPath: string
  readonly #running: Promise<void>
  #cursor: Place | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
    const folder = join(options.folder, 'sinks')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#cursorPath = join(folder, `${options.name}.json`)
    this.#deadPath = join(folder, `${options.name}.dead.ndjson`)
    this.#cursor = existsSync(this.#cursorPath) ? readCursor(this.#cursorPath) : undefined
    this.#running = this.#run()
  }

  /** Bytes of the log that were not handed on yet. */
  get lagBytes(): number {
    const { folder } = this.#options
    const cursor = this.#cursor
    return listSegments(folder)
      .filter((file) => cursor === undefined || file >= cursor.file)
      .reduce(
        (sum, file) =>
          sum + (statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0) - (file === cursor?.file ? cursor.bytes : 0),
        0,
      )
  }

  /** The segment that is read, or will be; the empty text: the oldest that is there. */
  get readFrom(): string {
    return this.#cursor?.file ?? ''
  }

  /** Ends what is under way; what was not handed on is, after the next start. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { onError, folder, maxLines, maxBytes } = this.#options
    for (let failures = 0; !this.#closing.signal.aborted; ) {
      try {
        const next = nextLines(folder, this.#cursor, maxLines, maxBytes)
        if (next === undefined) {
          await this.#pause(pollMs)
          continue
        }
        if (next.lines.length > 0) await this.#hand(next.lines)
        this.#cursor = next.place
        writeWhole(this.#cursorPath, JSON.stringify(next.place))
        failures = 0
      } catch (error) {
        if (this.#closing.signal.aborted) return
        this.counts.failures++
        if (failures++ === 0) onError(error as Error)
        await this.#pause(growingPauseMs(failures, minDelayMs, maxDelayMs))
      }
    }
  }

  /** One that is refused is found by halves, so that the others arrive. */
  async #hand(lines: readonly string[]): Promise<void> {
    try {
      await this.#options.deliver(lines, AbortSignal.any([this.#closing.signal, AbortSignal.timeout(requestTimeoutMs)]))
      this.counts.delivered += lines.length
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (lines.length > 1) {
        const half = Math.ceil(lines.length / 2)
        await this.#hand(lines.slice(0, half))
        await this.#hand(lines.slice(half))
        return
      }
      appendSynced(this.#deadPath, `${lines[0]}\n`)
      this.counts.dead++
      this.#options.onError(error)
    }
  }

  #pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {})
  }
}

function readCursor(path: string): Place | undefined {
  try {
    const { file, bytes } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Place>
    return typeof file === 'string' && Number.isSafeInteger(bytes) ? { file, bytes: bytes as number } : undefined
  } catch {
    // At least once: then all of it again.
    return undefined
  }
}
