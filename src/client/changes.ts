// What a service tells of its changes, heard over one stream that is opened again when it breaks off or falls silent. Not what a change
// means: that is for who listens.
import { growingPauseMs } from './growing-pause.ts'
import type { Way } from './way.ts'

export interface ChangeListener {
  /** Something may have been missed: whatever rests on what was heard does not hold any longer. */
  lost(): void
  /** @param name `hello`, which comes first on each stream, or what has changed */
  told(name: string, data: Readonly<Record<string, unknown>>): void
}

const [minDelayMs, maxDelayMs] = [50, 2_000]
/** Longest event, in characters. */
const maxEventLength = 262_144

export class ChangeStream {
  readonly #way: Way
  readonly #path: string
  readonly #boundMs: number
  readonly #listener: ChangeListener
  readonly #closing = new AbortController()
  #attempt = new AbortController()
  /** Milliseconds of a clock that only goes forward. */
  #heardAt = Number.NEGATIVE_INFINITY
  #lastId: string | undefined

  /** @param boundMs silence for longer than this is as good as a change that was missed */
  constructor(way: Way, path: string, boundMs: number, listener: ChangeListener) {
    this.#way = way
    this.#path = path
    this.#boundMs = boundMs
    this.#listener = listener
    void this.#follow()
  }

  isHeard(now: number): boolean {
    return now - this.#heardAt <= this.#boundMs
  }

  /** Counts as not heard until a stream has begun anew. */
  restart(): void {
    this.#heardAt = Number.NEGATIVE_INFINITY
    this.#attempt.abort()
  }

  close(): void {
    this.#closing.abort()
    this.#attempt.abort()
  }

  async #follow(): Promise<void> {
    for (let failures = 0; !this.#closing.signal.aborted; failures++) {
      const attempt = new AbortController()
      this.#attempt = attempt
      const abort = () => attempt.abort()
      // A connection that is silent is as good as none.
      let watchdog = setTimeout(abort, this.#boundMs)
      try {
        const headers = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
        const response = await this.#way.fetch(this.#path, { headers, signal: attempt.signal })
        if (response.status !== 200 || response.body === null) throw new Error(`the status is ${response.status}`)
        const decoder = new TextDecoder()
        let rest = ''
        for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
          if (attempt.signal.aborted) break
          clearTimeout(watchdog)
          watchdog = setTimeout(abort, this.#boundMs)
          rest += decoder.decode(part, { stream: true })
          const events = rest.split('\n\n')
          rest = events.pop() as string
          if (rest.length > maxEventLength) throw new Error('what came is no stream of events')
          // What was silent for too long has lost what it may have missed.
          if (!this.isHeard(performance.now())) this.#listener.lost()
          for (const event of events) this.#take(event)
          // Who listens may have found that it has to begin anew.
          if (attempt.signal.aborted) break
          this.#heardAt = performance.now()
          failures = 0
        }
      } catch {
        // Tried again below; silence ends what rests on this.
      } finally {
        clearTimeout(watchdog)
        attempt.abort()
      }
      if (this.#closing.signal.aborted) return
      const delay = growingPauseMs(failures, minDelayMs, maxDelayMs)
      await new Promise((resolve) => setTimeout(resolve, delay))
    }
  }

  #take(event: string): void {
    const fields = new Map(event.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
    const name = fields.get('event')
    if (name === undefined) return
    this.#lastId = fields.get('id')
    this.#listener.told(name, JSON.parse(fields.get('data') ?? '{}') as Readonly<Record<string, unknown>>)
  }
}
