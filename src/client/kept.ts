// Answers that are kept by the client, as long as the service says that they hold and for as long as it is heard: every change at the
// service that could end an answer ends all of them, and so does silence. How often each was given again is told to the service.
//
// INVARIANT: an answer that is given again was made less than its own time ago, and no change that the service told of, or could not tell
// of for longer than the bound, lies between.
import type { Answer } from './answer.ts'

export interface KeepOptions {
  /** For how long answers are still given when the service is not heard any longer. Milliseconds; default 3,000, at least 2,000. */
  readonly boundMs?: number
  /** Answers that are kept. Default 10,000. */
  readonly maxAnswers?: number
}

/** What is needed of the way to the service. */
export interface Way {
  /** The service whose answers are kept. */
  readonly url: string
  fetch(path: string, init: RequestInit & { readonly headers?: Readonly<Record<string, string>> }): Promise<Response>
}

interface Kept {
  readonly answer: Answer
  /** Milliseconds of a clock that only goes forward. */
  readonly until: number
}

interface Reuse {
  readonly id: string
  count: number
  readonly first: number
  last: number
}

const reportMs = 1_000
const maxReported = 1_000
/** Answers whose uses are not told yet; beyond, none is given again. */
const maxUntold = 10_000
const [minDelayMs, maxDelayMs] = [50, 2_000]

export class KeptAnswers {
  readonly #way: Way
  readonly #boundMs: number
  readonly #maxAnswers: number
  readonly #closing = new AbortController()
  readonly #answers = new Map<string, Kept>()
  /** Not told yet, by decision. */
  #reuses = new Map<string, Reuse>()
  #heardAt = Number.NEGATIVE_INFINITY
  #generation = 0
  /** The newest that answered, by bundle. */
  readonly #epochs = new Map<string, number>()
  #lastId: string | undefined
  #reportTimer: ReturnType<typeof setTimeout> | undefined

  constructor(way: Way, { boundMs = 3_000, maxAnswers = 10_000 }: KeepOptions) {
    if (!(boundMs >= 2_000 && maxAnswers >= 1))
      throw new TypeError('`keep.boundMs` must be at least 2,000: the service is heard once a second')
    this.#way = way
    this.#boundMs = boundMs
    this.#maxAnswers = maxAnswers
    void this.#follow()
  }

  /** To be asked for before a question is sent, and given back with its answer. */
  get generation(): number {
    return this.#generation
  }

  #isHeard(): boolean {
    return performance.now() - this.#heardAt <= this.#boundMs
  }

  get(key: string, minEpoch: number | undefined): Answer | undefined {
    const kept = this.#answers.get(key)
    if (kept === undefined) return undefined
    const now = performance.now()
    if (now - this.#heardAt > this.#boundMs) {
      this.#letGo()
      return undefined
    }
    if (now >= kept.until) {
      this.#answers.delete(key)
      return undefined
    }
    if ((kept.answer.policy?.epoch ?? 0) < (minEpoch ?? 0) || !this.#count(kept.answer.id)) return undefined
    return { ...kept.answer, cache: { max_age_ms: Math.floor(kept.until - now) } }
  }

  /**
   * @param url of the service that answered
   * @param sentAt before the question was sent
   * @param generation as it was then: what changed meanwhile may be what the answer does not know of
   */
  set(key: string, answer: Answer, url: string, sentAt: number, generation: number): void {
    const { bundle, epoch } = answer.policy ?? {}
    if (bundle !== undefined && epoch !== undefined && url === this.#way.url) {
      const known = this.#epochs.get(bundle) ?? epoch
      this.#epochs.set(bundle, Math.max(known, epoch))
      // An answer tells of a new epoch as well as the stream does, and may come before it.
      if (epoch > known) this.#letGo()
      if (epoch < known) return
    }
    const ms = answer.cache.max_age_ms
    if (!(ms > 0) || url !== this.#way.url || generation !== this.#generation || !this.#isHeard() || answer.context.error !== undefined)
      return
    if (this.#answers.size >= this.#maxAnswers) this.#answers.delete(this.#answers.keys().next().value as string)
    this.#answers.set(key, { answer, until: sentAt + ms })
  }

  #letGo(): void {
    this.#generation++
    this.#answers.clear()
  }

  /** Follows what changes at the service, until the client is closed. */
  async #follow(): Promise<void> {
    for (let failures = 0; !this.#closing.signal.aborted; failures++) {
      const attempt = new AbortController()
      const abort = () => attempt.abort()
      this.#closing.signal.addEventListener('abort', abort)
      // A connection that is silent is as good as none.
      let watchdog = setTimeout(abort, this.#boundMs)
      try {
        const headers = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
        const response = await this.#way.fetch('/v1/changes', { headers, signal: attempt.signal })
        if (response.status !== 200 || response.body === null) throw new Error(`the status is ${response.status}`)
        const decoder = new TextDecoder()
        let rest = ''
        for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
          clearTimeout(watchdog)
          watchdog = setTimeout(abort, this.#boundMs)
          rest += decoder.decode(part, { stream: true })
          const events = rest.split('\n\n')
          rest = events.pop() as string
          if (rest.length > 65_536) throw new Error('what came is no stream of events')
          // What was silent for too long has lost what it may have missed.
          if (!this.#isHeard()) this.#letGo()
          for (const event of events) this.#take(event)
          this.#heardAt = performance.now()
          failures = 0
        }
      } catch {
        // Tried again below; silence ends what is kept.
      } finally {
        clearTimeout(watchdog)
        this.#closing.signal.removeEventListener('abort', abort)
        attempt.abort()
      }
      if (this.#closing.signal.aborted) return
      const delay = Math.min(maxDelayMs, minDelayMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2)
      await new Promise((resolve) => setTimeout(resolve, delay))
    }
  }

  #take(event: string): void {
    const fields = new Map(event.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
    const name = fields.get('event')
    if (name === undefined) return
    this.#lastId = fields.get('id')
    // Which answers a change ends would have to be found out; changes are rare, so all of them go.
    const isReset = name === 'hello' && (JSON.parse(fields.get('data') ?? '{}') as { reset?: unknown }).reset !== false
    // Another process may count anew.
    if (isReset) this.#epochs.clear()
    if (isReset || name !== 'hello') this.#letGo()
  }

  /** @returns false: it cannot be told, so it must not be given */
  #count(id: string): boolean {
    const now = Date.now()
    const known = this.#reuses.get(id)
    if (known !== undefined) {
      known.count++
      known.last = now
      return true
    }
    if (this.#reuses.size >= maxUntold) return false
    this.#reuses.set(id, { id, count: 1, first: now, last: now })
    this.#reportTimer ??= setTimeout(() => void this.#report(), reportMs)
    return true
  }

  /** Tells how often answers were given again. What cannot be told now is told later. */
  async #report(): Promise<void> {
    const told = this.#reuses
    this.#reuses = new Map()
    const all = [...told.values()]
    for (let i = 0; i < all.length; i += maxReported) {
      const body = JSON.stringify({ reuses: all.slice(i, i + maxReported) })
      const headers = { 'content-type': 'application/json' }
      const isTold = await this.#way
        .fetch('/v1/reuses', { method: 'POST', headers, body, signal: AbortSignal.timeout(5_000) })
        .then(async (response) => {
          await response.body?.cancel()
          return response.status === 204
        })
        .catch(() => false)
      if (!isTold) for (const one of all.slice(i, i + maxReported)) this.#putBack(one)
    }
    this.#reportTimer = undefined
    if (this.#reuses.size > 0 && !this.#closing.signal.aborted) this.#reportTimer = setTimeout(() => void this.#report(), reportMs)
  }

  #putBack(one: Reuse): void {
    const newer = this.#reuses.get(one.id)
    this.#reuses.set(one.id, newer === undefined ? one : { ...newer, count: one.count + newer.count, first: one.first })
  }

  /** Tells what was not told yet, once. */
  async close(): Promise<void> {
    this.#closing.abort()
    clearTimeout(this.#reportTimer)
    this.#letGo()
    if (this.#reuses.size > 0) await this.#report()
  }
}
