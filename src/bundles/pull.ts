// Bundles from a server, by OPA's protocol: polled with an ETag, or held open by a server that can (long polling). Not what
// happens to an archive: it is handed on.
// @see https://www.openpolicyagent.org/docs/management-bundles

import { readFileSync } from 'node:fs'
import { PdpError, toPdpError } from '../errors.ts'
import { type ClientTls, readBody, sendTo } from '../network/client.ts'
import { growingPauseMs } from '../network/growing-pause.ts'

export interface PullOptions {
  readonly url: string
  /** File with a bearer token, read for each request. */
  readonly tokenFile?: string | undefined
  /** How an https server is known, and how it knows this service; absent: the system's authorities, and not at all. */
  readonly tls?: ClientTls | undefined
  /** Between two requests, and behind the first failure. Milliseconds. */
  readonly minDelayMs: number
  /** Behind many failures. Milliseconds. */
  readonly maxDelayMs: number
  /** For a whole download. Milliseconds. */
  readonly timeoutMs: number
  /** How long a server may hold a request that has nothing new; 0: it is not asked to. Milliseconds. */
  readonly longPollMs: number
  /** Bytes. */
  readonly maxBytes: number
}

export interface Puller {
  /** Ends what is under way; resolves when nothing more happens. */
  close(): Promise<void>
}

/** What servers say that hold requests open. */
const longPollType = 'application/vnd.openpolicyagent.bundles'

/**
 * @param take gets each archive that is new; when it throws, the archive is asked for again
 * @param onError told of what failed; it is tried again
 */
export function pull(options: PullOptions, take: (archive: Buffer) => Promise<void>, onError: (error: PdpError) => void): Puller {
  const closing = new AbortController()
  const running = run()
  return {
    async close() {
      closing.abort()
      await running
    },
  }

  async function run(): Promise<void> {
    let etag: string | undefined
    for (let failures = 0; !closing.signal.aborted; ) {
      let isHeld = false
      try {
        const answer = await request(etag)
        isHeld = answer.isLongPoll
        if (answer.archive !== undefined) await take(answer.archive)
        etag = answer.etag ?? etag
        failures = 0
      } catch (thrown) {
        if (closing.signal.aborted) return
        failures++
        onError(toPdpError(thrown))
      }
      // A server that holds requests open is asked again at once.
      if (!isHeld || failures > 0) await pause(failures)
    }
  }

  async function request(etag: string | undefined): Promise<{ archive?: Buffer; etag?: string | undefined; isLongPoll: boolean }> {
    const { url, tokenFile, tls, timeoutMs, longPollMs, maxBytes } = options
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs + longPollMs)])
    const headers: Record<string, string> = {
      ...(etag !== undefined && { 'if-none-match': etag }),
      ...(tokenFile !== undefined && { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` }),
      ...(longPollMs > 0 && { prefer: `modes=snapshot;wait=${Math.round(longPollMs / 1_000)}` }),
    }
    const response = await sendTo(url, { headers, tls, signal }).catch((cause: Error) => {
      throw failed(signal.aborted && !closing.signal.aborted ? 'it took too long' : cause.message, cause)
    })
    const { statusCode: status = 0, headers: answered } = response
    const isLongPoll = longPollMs > 0 && answered['content-type'] === longPollType
    if (status === 304) {
      response.resume()
      if (etag === undefined) throw failed('it says that nothing has changed, and was not told what is known')
      return { isLongPoll }
    }
    if (status !== 200) {
      response.destroy()
      throw failed(status >= 300 && status < 400 ? 'it redirects, which is not followed' : `the status is ${status}`)
    }
    const tooLong = () => new PdpError('ERR_BUNDLE_TOO_LARGE', `the bundle of \`${url}\` has more than \`${maxBytes}\` bytes`)
    const archive = await readBody(response, maxBytes, tooLong).catch((cause: Error) => {
      if (cause instanceof PdpError) throw cause
      throw failed(signal.aborted ? 'it took too long' : `the download broke off: ${cause.message}`, cause)
    })
    return { archive, etag: answered.etag, isLongPoll }
  }

  async function pause(failures: number): Promise<void> {
    const { minDelayMs, maxDelayMs } = options
    const ms = growingPauseMs(failures, minDelayMs, maxDelayMs)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      closing.signal.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  function failed(what: string, cause?: unknown): PdpError {
    return new PdpError('ERR_FILE', `the bundle server \`${options.url}\` fails: ${what}`, { cause })
  }
}
