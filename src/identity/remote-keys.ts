// The keys of an issuer from its server: fetched at start and again after a while, and when a token names a key that is not known,
// but not more often than once a cool-down, so that tokens of strangers are no way to make this service ask. While the server is
// away its last good keys count, for a bounded time; then nobody's do.
import { readBody } from '../network/client.ts'
import { KeySet } from './key-set.ts'

export interface RemoteKeysOptions {
  /** https; or http on a loopback address. */
  readonly url: string
  /** Milliseconds, as all that follow. */
  readonly refreshMs: number
  readonly cooldownMs: number
  /** How long keys count behind their last good fetch. */
  readonly maxStaleMs: number
  readonly timeoutMs: number
  /** Told of what failed; it is tried again. */
  readonly onError: (message: string) => void
  /** Told of each request: how long it took, in milliseconds, and whether there were keys that can be used. */
  readonly onAsked?: ((ms: number, isAnswered: boolean) => void) | undefined
}

const maxBytes = 1024 * 1024
/** Tokens of unknown keys that may wait for a fetch at one time. */
const maxWaiting = 1_000

export class RemoteKeys {
  readonly #options: RemoteKeysOptions
  readonly #timer: NodeJS.Timeout
  readonly #closing = new AbortController()
  #keys: KeySet | undefined
  #fetchedAtMs = Number.NEGATIVE_INFINITY
  #triedAtMs = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined
  #waiting = 0

  constructor(options: RemoteKeysOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#fetch(), options.refreshMs).unref()
  }

  /** Fetches for the first time; a failure is told and no more. */
  start(): Promise<void> {
    return this.#fetch()
  }

  /** Whether there are keys that count. */
  get isUsable(): boolean {
    return this.#keys !== undefined && performance.now() - this.#fetchedAtMs <= this.#options.maxStaleMs
  }

  /**
   * @param isKnown whether a set has the key that is wanted
   * @returns keys that count, fetched again where the wanted one is not among them; undefined: there are none
   */
  async get(isKnown: (keys: KeySet) => boolean): Promise<KeySet | undefined> {
    if (this.isUsable && isKnown(this.#keys as KeySet)) return this.#keys
    if (this.#waiting < maxWaiting) {
      this.#waiting++
      await this.#fetchAfterCooldown().finally(() => this.#waiting--)
    }
    return this.isUsable ? this.#keys : undefined
  }

  async #fetchAfterCooldown(): Promise<void> {
    const began = performance.now()
    const wait = this.#triedAtMs + this.#options.cooldownMs - began
    if (this.#fetching === undefined && wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    // Somebody else who waited may have fetched by now.
    if (this.#triedAtMs < began) await this.#fetch()
    else await this.#fetching
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  async #fetchOnce(): Promise<void> {
    const { url, timeoutMs, onError, onAsked } = this.#options
    this.#triedAtMs = performance.now()
    let isAnswered = false
    try {
      const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeoutMs)])
      // Not where it redirects to: that is another server's word.
      const response = await fetch(url, { signal, redirect: 'manual', headers: { accept: 'application/jwk-set+json, application/json' } })
      if (response.status !== 200) {
        await response.body?.cancel()
        throw new Error(`the status is ${response.status}`)
      }
      const body = response.body as AsyncIterable<Uint8Array>
      const text = (await readBody(body, maxBytes, () => new Error(`it has more than ${maxBytes} bytes`))).toString('utf8')
      const keys = new KeySet(text, 'sig')
      if (keys.size === 0) throw new Error('it has no key that can be used')
      this.#keys = keys
      this.#fetchedAtMs = performance.now()
      isAnswered = true
    } catch (thrown) {
      if (!this.#closing.signal.aborted) onError(`the keys of \`${url}\` cannot be had: ${(thrown as Error).message}`)
    } finally {
      onAsked?.(performance.now() - this.#triedAtMs, isAnswered)
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#closing.abort()
  }
}
