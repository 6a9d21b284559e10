// Which of several services is asked next, and whether it is worth asking again: one that fails some times in a row is left alone for a
// while and then tried by one request, and requests that are sent again are a small part of all, so that clients do not finish off a
// service that has trouble.

export interface EndpointOptions {
  /** Failures in a row behind which an endpoint is left alone. */
  readonly failures: number
  /** For how long. Milliseconds. */
  readonly openMs: number
  /** Of all requests, the part that may be sent again. 0 to 1. */
  readonly retryRatio: number
}

interface Endpoint {
  readonly url: string
  failures: number
  /** Until when it is left alone. */
  openUntil: number
  /** Whether a request is trying it out. */
  isTried: boolean
}

/** As many as may be sent again at once when nothing failed for a long time. */
const maxSaved = 10

export class Endpoints {
  readonly #endpoints: readonly Endpoint[]
  readonly #options: EndpointOptions
  readonly #now: () => number
  #next = 0
  #saved = maxSaved

  constructor(urls: readonly string[], options: EndpointOptions, now: () => number) {
    this.#endpoints = urls.map((url) => ({ url: url.replace(/\/+$/, ''), failures: 0, openUntil: 0, isTried: false }))
    this.#options = options
    this.#now = now
  }

  /** Without slashes at their ends. */
  get urls(): string[] {
    return this.#endpoints.map(({ url }) => url)
  }

  /**
   * @param avoid that one, while there is another
   * @returns undefined: all are left alone now
   */
  take(avoid?: string): Endpoint | undefined {
    const now = this.#now()
    let last: Endpoint | undefined
    for (let i = 0; i < this.#endpoints.length; i++) {
      const one = this.#endpoints[(this.#next + i) % this.#endpoints.length] as Endpoint
      const isClosed = one.failures < this.#options.failures
      if (!isClosed && (now < one.openUntil || one.isTried)) continue
      if (one.url === avoid) {
        last = one
        continue
      }
      return this.#use(one, isClosed)
    }
    return last && this.#use(last, last.failures < this.#options.failures)
  }

  #use(one: Endpoint, isClosed: boolean): Endpoint {
    if (!isClosed) one.isTried = true
    return one
  }

  /** It answered, whatever it said. */
  succeeded(one: Endpoint): void {
    one.failures = 0
    one.isTried = false
    this.#saved = Math.min(maxSaved, this.#saved + this.#options.retryRatio)
  }

  failed(one: Endpoint): void {
    one.failures++
    one.isTried = false
    if (one.failures >= this.#options.failures) one.openUntil = this.#now() + this.#options.openMs
    // The next request goes elsewhere.
    this.#next = (this.#endpoints.indexOf(one) + 1) % this.#endpoints.length
  }

  /** Neither: nobody waited for the answer any longer. */
  abandoned(one: Endpoint): void {
    one.isTried = false
  }

  /** Whether one more request may be sent again. */
  mayRetry(): boolean {
    if (this.#saved < 1) return false
    this.#saved--
    return true
  }
}
