// The way of records to the service's decision log: gathered, sent in batches, sent again until they are taken. While there is no room, or
// the service does not take them, nothing is decided here.
import type { DecisionLog } from '../audit/decision-log.ts'
import type { Way } from '../client/way.ts'

/** Far below what a service takes by default, whatever the characters. */
const batchLength = 262_144
const sendAfterMs = 100
const [minDelayMs, maxDelayMs] = [100, 5_000]
const requestTimeoutMs = 10_000
const closeTimeoutMs = 10_000

export class RecordOutbox implements DecisionLog {
  readonly #way: Way
  readonly #maxLength: number
  readonly #onError: (error: Error) => void
  #batches: string[] = []
  #current = ''
  /** Characters of all that is not told. */
  #length = 0
  #isRefused = false
  /** Milliseconds of a clock that only goes forward. */
  #closeBy = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined

  /** @param maxLength of what may wait, in characters */
  constructor(way: Way, maxLength: number, onError: (error: Error) => void) {
    this.#way = way
    this.#maxLength = maxLength
    this.#onError = onError
  }

  get available(): boolean {
    return !this.#isRefused && this.#length < this.#maxLength
  }

  /** The service numbers what it takes. */
  nextSeq(): number {
    return 0
  }

  append(line: string): void {
    this.#current += line
    this.#length += line.length
    if (this.#current.length >= batchLength) {
      this.#batches.push(this.#current)
      this.#current = ''
      this.#sending ??= this.#send()
    } else this.#timer ??= setTimeout(() => void this.flush(), sendAfterMs)
  }

  /** Resolves when all that was appended has been taken, or could not be told for now. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#current !== '') {
      this.#batches.push(this.#current)
      this.#current = ''
    }
    this.#sending ??= this.#send()
    await this.#sending
  }

  /** Tells what is left, for some seconds. What could not be told then is lost, and said to be. */
  async close(): Promise<void> {
    this.#closeBy = performance.now() + closeTimeoutMs
    await this.flush()
    clearTimeout(this.#timer)
    if (this.#length > 0) this.#onError(new Error('records of decisions could not be told to the service, and are lost'))
  }

  async #send(): Promise<void> {
    for (let failures = 0; this.#batches.length > 0 && performance.now() < this.#closeBy; ) {
      const batch = this.#batches[0] as string
      const failure = await this.#tell(batch)
      if (failure === undefined) {
        this.#batches.shift()
        this.#length -= batch.length
        this.#isRefused = false
        failures = 0
        continue
      }
      if (failures++ === 0) this.#onError(failure)
      const ms = Math.min(maxDelayMs, minDelayMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2)
      await new Promise<void>((resolve) => setTimeout(resolve, ms))
    }
    this.#sending = undefined
  }

  async #tell(batch: string): Promise<Error | undefined> {
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
