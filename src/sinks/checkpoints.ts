// Hands the newest signed checkpoint of the log on to a place where whoever can write the log cannot change it: a server, or a file that is
// only added to. One covers all before it, so those that came while another was under way are passed over.
import { appendSynced } from '../audit/durable-files.ts'
import { growingPauseMs } from '../network/growing-pause.ts'
import { type Destination, post } from './post.ts'

/** Takes a note on; resolves when it has arrived. */
export type DeliverNote = (note: string, signal: AbortSignal) => Promise<void>

export const toServer =
  (destination: Destination): DeliverNote =>
  (note, signal) =>
    post(destination, 'text/plain; charset=utf-8', note, signal)

/** One note behind the other. */
export const toFile =
  (path: string): DeliverNote =>
  async (note) =>
    appendSynced(path, note)

const requestTimeoutMs = 10_000
const [minDelayMs, maxDelayMs] = [500, 30_000]
/** How long what is left at the end of a run may take. */
const closeTimeoutMs = 2_000

export class CheckpointSink {
  readonly counts = { delivered: 0, failures: 0 }
  readonly #deliver: DeliverNote
  readonly #intervalMs: number
  readonly #onError: (error: Error) => void
  #newest: string | undefined
  #deliveredAtMs = Date.now()
  #underWay: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #isClosed = false
  readonly #closing = new AbortController()

  /** @param intervalMs at least so long between two */
  constructor(deliver: DeliverNote, intervalMs: number, onError: (error: Error) => void) {
    this.#deliver = deliver
    this.#intervalMs = intervalMs
    this.#onError = onError
  }

  /** Since one arrived last, or since the start; 0 where nothing is new. Milliseconds. */
  get ageMs(): number {
    return this.#newest === undefined && this.#underWay === undefined ? 0 : Math.max(0, Date.now() - this.#deliveredAtMs)
  }

  offer(note: string): void {
    this.#newest = note
    if (this.#underWay !== undefined || this.#timer !== undefined || this.#isClosed) return
    this.#underWay = this.#send()
  }

  /** Hands on what is there, if that is soon done. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    const late = setTimeout(() => this.#closing.abort(), closeTimeoutMs)
    await this.#underWay
    if (this.#newest !== undefined && !this.#closing.signal.aborted) await this.#send()
    clearTimeout(late)
  }

  async #send(): Promise<void> {
    const note = this.#newest as string
    this.#newest = undefined
    let pauseMs = this.#intervalMs
    try {
      await this.#deliver(note, AbortSignal.any([this.#closing.signal, AbortSignal.timeout(requestTimeoutMs)]))
      this.counts.delivered++
      this.#deliveredAtMs = Date.now()
      this.#failures = 0
    } catch (error) {
      this.counts.failures++
      if (this.#failures++ === 0) this.#onError(error as Error)
      // Unless a newer one has come.
      this.#newest ??= note
      pauseMs = growingPauseMs(this.#failures, minDelayMs, maxDelayMs)
    }
    this.#underWay = undefined
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#newest !== undefined) this.offer(this.#newest)
    }, pauseMs).unref()
  }
}
