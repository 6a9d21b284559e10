// Answers that are kept by the client, as long as the service says that they hold and for as long as it is heard: every change at the
// service that could end an answer ends all of them, and so does silence. How often each was given again is told to the service.
//
// INVARIANT: an answer that is given again was made less than its own time ago, and no change that the service told of, or could not tell
// of for longer than the bound, lies between.
import type { Answer, Question } from './answer.ts'
import type { Asked } from './asked.ts'
import { ChangeStream } from './changes.ts'
import type { CallOptions } from './client.ts'
import { KeptStore } from './kept-store.ts'
import type { Way } from './way.ts'

export interface KeepOptions {
  /** For how long answers are still given when the service is not heard any longer. Milliseconds; default 3,000, at least 2,000. */
  readonly boundMs?: number
  /** Answers that are kept. Default 10,000. */
  readonly maxAnswers?: number
}

interface Kept {
  readonly asked: Asked
  readonly answer: Answer
  /** Milliseconds of a clock that only goes forward. */
  readonly until: number
  reuse: Reuse | undefined
}

/** How often an answer was given again. Times are of a clock that only goes forward, in milliseconds. */
interface Reuse {
  readonly id: string
  count: number
  first: number
  last: number
  isTold: boolean
}

const reportMs = 1_000
const maxReported = 1_000
/** Answers whose uses are not told yet; beyond, none is given again. */
const maxUntold = 10_000

export class KeptAnswers {
  readonly #way: Way
  readonly #changes: ChangeStream
  readonly #answers: KeptStore<Kept>
  /** Not told yet, by decision. */
  #reuses = new Map<string, Reuse>()
  #isClosed = false
  #generation = 0
  /** The newest that answered, by bundle. */
  readonly #epochs = new Map<string, number>()
  #reportTimer: ReturnType<typeof setTimeout> | undefined

  constructor(way: Way, { boundMs = 3_000, maxAnswers = 10_000 }: KeepOptions) {
    if (!(boundMs >= 2_000 && maxAnswers >= 1))
      throw new TypeError('`keep.boundMs` must be at least 2,000: the service is heard once a second')
    this.#way = way
    this.#answers = new KeptStore(maxAnswers)
    this.#changes = new ChangeStream(way, '/v1/changes', boundMs, {
      lost: () => this.#letGo(),
      told: (name, data) => this.#take(name, data),
    })
  }

  /** To be asked for before a question is sent, and given back with its answer. */
  get generation(): number {
    return this.#generation
  }

  get(question: Question, call: CallOptions): Answer | undefined {
    const kept = this.#answers.find(question, call)
    if (kept === undefined) return undefined
    const now = performance.now()
    if (!this.#changes.isHeard(now)) {
      this.#letGo()
      return undefined
    }
    if (now >= kept.until) {
      this.#answers.drop(kept)
      return undefined
    }
    const { decision, id, context, policy } = kept.answer
    if ((policy?.epoch ?? 0) < (call.minEpoch ?? 0) || !this.#count(kept, now)) return undefined
    const cache = { max_age_ms: Math.floor(kept.until - now) }
    return policy === undefined ? { decision, id, context, cache } : { decision, id, context, policy, cache }
  }

  /**
   * @param url of the service that answered
   * @param sentAt before the question was sent
   * @param generation as it was then: what changed meanwhile may be what the answer does not know of
   */
  set(asked: Asked, answer: Answer, url: string, sentAt: number, generation: number): void {
    const { bundle, epoch } = answer.policy ?? {}
    if (bundle !== undefined && epoch !== undefined && url === this.#way.url) {
      const known = this.#epochs.get(bundle) ?? epoch
      this.#epochs.set(bundle, Math.max(known, epoch))
      // An answer tells of a new epoch as well as the stream does, and may come before it.
      if (epoch > known) this.#letGo()
      if (epoch < known) return
    }
    const ms = answer.cache.max_age_ms
    if (
      !(ms > 0) ||
      url !== this.#way.url ||
      generation !== this.#generation ||
      !this.#changes.isHeard(performance.now()) ||
      answer.context.error !== undefined
    )
      return
    // Whoever gets it gets it by itself, but not all that is in it.
    freeze(answer.context)
    freeze(answer.policy)
    this.#answers.add({ asked, answer, until: sentAt + ms, reuse: undefined })
  }

  #letGo(): void {
    this.#generation++
    this.#answers.clear()
  }

  #take(name: string, { reset }: Readonly<Record<string, unknown>>): void {
    // Which answers a change ends would have to be found out; changes are rare, so all of them go.
    const isReset = name === 'hello' && reset !== false
    // Another process may count anew.
    if (isReset) this.#epochs.clear()
    if (isReset || name !== 'hello') this.#letGo()
  }

  /** @returns false: it cannot be told, so it must not be given */
  #count(kept: Kept, now: number): boolean {
    if (kept.reuse?.isTold === false) {
      kept.reuse.count++
      kept.reuse.last = now
      return true
    }
    if (this.#reuses.size >= maxUntold) return false
    const { id } = kept.answer
    kept.reuse = { id, count: 1, first: now, last: now, isTold: false }
    this.#reuses.set(id, kept.reuse)
    this.#reportTimer ??= setTimeout(() => void this.#report(), reportMs)
    return true
  }

  /** Tells how often answers were given again. What cannot be told now is told later. */
  async #report(): Promise<void> {
    const told = this.#reuses
    this.#reuses = new Map()
    const all = [...told.values()]
    for (const one of all) one.isTold = true
    for (let i = 0; i < all.length; i += maxReported) {
      const since1970 = Date.now() - performance.now()
      const at = (ms: number) => Math.round(since1970 + ms)
      const reuses = all.slice(i, i + maxReported).map(({ id, count, first, last }) => ({ id, count, first: at(first), last: at(last) }))
      const body = JSON.stringify({ reuses })
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
    if (this.#reuses.size > 0 && !this.#isClosed) this.#reportTimer = setTimeout(() => void this.#report(), reportMs)
  }

  #putBack(one: Reuse): void {
    const newer = this.#reuses.get(one.id)
    if (newer === undefined) {
      one.isTold = false
      this.#reuses.set(one.id, one)
    } else {
      newer.count += one.count
      newer.first = one.first
    }
  }

  /** Tells what was not told yet, once. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#changes.close()
    clearTimeout(this.#reportTimer)
    this.#letGo()
    if (this.#reuses.size > 0) await this.#report()
  }
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const member of Object.values(value)) freeze(member)
}
