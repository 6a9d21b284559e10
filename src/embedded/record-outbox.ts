// The way of records to the service's decision log: gathered, sent in batches, sent again until they are taken. While there is no room, or
// the service does not take them, nothing is decided here.

import type { DecisionLog } from '../audit/decision-log.ts'
import { LineChunks } from '../audit/line-chunks.ts'
import { growingPauseMs } from '../client/growing-pause.ts'
import type { Way } from '../client/way.ts'

const sendAfterMs = 100
/** So much does not wait. Bytes. */
const eagerBytes = 262_144
const [minDelayMs, maxDelayMs] = [100, 5_000]
const requestTimeoutMs = 10_000
const closeTimeoutMs = 10_000

export class RecordOutbox implements DecisionLog {
  readonly #way: Way
  readonly #maxBytes: number
  readonly #onError: (error: Error) => void
  readonly #lines = new LineChunks()
  /** Taken out of the lines and not yet by the service; each far below what a service takes by default. */
  #batches: Buffer<ArrayBuffer>[] = []
  #batchBytes = 0
  #isRefused = false
  /** Milliseconds of a clock that only goes forward. */
  #closeBy = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined

  /** @param maxBytes of what may wait */
  constructor(way: Way, maxBytes: number, onError: (error: Error) => void) {
    this.#way = way
    this.#maxBytes = maxBytes
    this.#onError = onError
  }

  get available(): boolean {
    return !this.#isRefused && this.#lines.bytes + this.#batchBytes < this.#maxBytes
  }

  /** The service numbers what it takes. */
  nextSeq(): number {
    return 0
  }

  append(line: string): undefined {
    this.#lines.append(line)
    if (this.#sending !== undefined) return
    if (this.#lines.bytes >= eagerBytes) void this.flush()
    else this.#timer ??= setTimeout(() => void this.flush(), sendAfterMs)
  }

  /** Resolves when all that was appended has been taken, or could not be told before the end. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#sending === undefined && this.#lines.bytes + this.#batchBytes > 0) this.#sending = this.#send()
    await this.#sending
  }

  /** Tells what is left, for some seconds. What could not be told then is lost, and said to be. */
  async close(): Promise<void> {
    this.#closeBy = performance.now() + closeTimeoutMs
    await this.flush()
    if (this.#batches.length > 0) this.#onError(new Error('records of decisions could not be told to the service, and are lost'))
  }

  async #send(): Promise<void> {
    for (let failures = 0; performance.now() < this.#closeBy; ) {
      if (this.#batches.length === 0) this.#take()
      const batch = this.#batches[0]
      if (batch === undefined) break
      const failure = await this.#tell(batch)
      if (failure === undefined) {
        this.#batches.shift()
        this.#batchBytes -= batch.length
        this.#lines.release([batch])
        this.#isRefused = false
        failures = 0
        continue
      }
      if (failures++ === 0) this.#onError(failure)
      const ms = growingPauseMs(failures, minDelayMs, maxDelayMs)
      await new Promise<void>((resolve) => setTimeout(resolve, ms))
    }
    this.#sending = undefined
  }

  #take(): void {
    this.#batchBytes += this.#lines.bytes
    this.#batches = this.#lines.take()
  }

  async #tell(batch: Buffer<ArrayBuffer>): Promise<Error | undefined> {
    try {
      const response = await this.#way.fetch('/v1/records', {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: batch,
        signal: AbortSignal.timeout(requestTimeoutMs),
      })
      const text = await response.text()
      if (response.status === 204) return undefined
      // What is refused would be refused again: as long as it is, the service decides.
      this.#isRefused = response.status < 500 && response.status !== 429
      return new Error(`the service does not take records of decisions: ${response.status} ${text.slice(0, 512)}`)
    } catch (cause) {
      return new Error(`records of decisions cannot be told to the service: ${(cause as Error).message}`, { cause })
    }
  }
}
