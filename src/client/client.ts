// The client: gathers the calls of a turn, sends them, and sends them again where that helps and time is left.

import { type Answer, denied, type Question, readAnswer } from './answer.ts'
import { Asked } from './asked.ts'
import { Endpoints } from './endpoints.ts'
import { growingPauseMs } from './growing-pause.ts'
import { type KeepOptions, KeptAnswers } from './kept.ts'
import { readText, type Way, type WayOptions, wayTo } from './way.ts'

export interface ClientOptions extends WayOptions {
  /** Where services answer, for example `https://pdp.example:8181`; the next one is asked when one fails. At least one. */
  readonly urls: readonly string[]
  /** For a call, with all that is sent again. Milliseconds; default 1,000. */
  readonly timeoutMs?: number
  /** For one request; then the next service is asked. Milliseconds; default half of `timeoutMs`. */
  readonly attemptMs?: number
  /** Questions that may share a request; 1: none do. Default 100. */
  readonly maxBatch?: number
  /** Requests under way at one time; what is asked meanwhile is gathered. Default 16. */
  readonly maxRequests?: number
  /** Of all requests, the part that may be sent again. 0 to 1; default 0.1. */
  readonly retryRatio?: number
  /** Failures in a row behind which a service is left alone, and for how long. Default 5, and 1,000 milliseconds. */
  readonly breaker?: { readonly failures?: number; readonly openMs?: number }
  /** What a call does where there is no answer: a deny with `context.error`, or an exception. Default `deny`. */
  readonly onUnavailable?: 'deny' | 'throw'
  /**
   * Keeps answers of the first service for as long as it says (`cache.max_age_ms`), unless it tells of a change or is not heard any
   * longer. Default: every call is answered by a service.
   */
  readonly keep?: KeepOptions
}

export interface CallOptions {
  /** `bundle` or `bundle:entry/point`. Default: as the service is configured. */
  readonly policy?: string
  /** The subject's own token. */
  readonly token?: string
  /** Answer only from this epoch of the bundle or a later one. */
  readonly minEpoch?: number
  /** Sent as `X-Request-ID`; default: one of its own for each request. */
  readonly correlationId?: string
  /** W3C trace context of the caller's span. */
  readonly traceparent?: string
  /** What vendors add to it. */
  readonly tracestate?: string
  readonly signal?: AbortSignal
}

export interface Client {
  /** One decision. Never rejects, unless `onUnavailable` is `throw`. */
  decide(question: Question, options?: CallOptions): Promise<Answer>
  /** One for each question, in their order. */
  decideMany(questions: readonly Question[], options?: CallOptions): Promise<Answer[]>
  /** Denies what is under way and all that follows; resolves when the service knows what was given again. */
  close(): Promise<void>
}

/** Why there is no answer. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError'
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

interface Answered {
  readonly answer: Answer
  /** Of the service that gave it. */
  readonly url: string
}

interface Waiting {
  readonly question: Question
  readonly resolve: (answered: Answered) => void
  readonly reject: (error: UnavailableError) => void
}

/** Questions that can share a request. */
interface Group {
  readonly options: CallOptions
  readonly waiting: Waiting[]
}

const maxAttempts = 3
/** Of a field of a request. */
const plain = /^[\x21-\x7e]{1,256}$/
/** Of what a service says to one request. */
const maxAnswerBytes = 16 * 1024 * 1024
const minDelayMs = 5
const maxDelayMs = 100

/** @throws TypeError for options that cannot be used */
export function createClient(options: ClientOptions): Client {
  const { urls, timeoutMs = 1_000, maxBatch = 100, maxRequests = 16, onUnavailable = 'deny' } = options
  const attemptMs = options.attemptMs ?? timeoutMs / 2
  if (urls.length === 0 || urls.some((url) => !/^https?:\/\//.test(url)))
    throw new TypeError('`urls` must name at least one service by http or https')
  if (!(timeoutMs > 0 && attemptMs > 0 && maxBatch >= 1 && maxRequests >= 1)) throw new TypeError('times and sizes must be above zero')
  const endpoints = new Endpoints(
    urls,
    { failures: options.breaker?.failures ?? 5, openMs: options.breaker?.openMs ?? 1_000, retryRatio: options.retryRatio ?? 0.1 },
    () => performance.now(),
  )
  const closing = new AbortController()
  const ways = new Map(endpoints.urls.map((url) => [url, wayTo(url, options)]))
  const kept = options.keep && new KeptAnswers(ways.get(endpoints.urls[0] as string) as Way, options.keep)
  /** By what their questions have in common, in the order of their first. */
  const groups = new Map<string, Group>()
  let isScheduled = false
  let underWay = 0

  return {
    decide: (question, call = {}) => ask(question, call),
    decideMany: (questions, call = {}) => Promise.all(questions.map((question) => ask(question, call))),
    async close() {
      closing.abort()
      for (const { waiting } of groups.values()) refuse(waiting, new UnavailableError('ERR_CLIENT_CLOSED', 'the client is closed'))
      groups.clear()
      await kept?.close()
    },
  }

  async function ask(question: Question, call: CallOptions): Promise<Answer> {
    try {
      if (kept === undefined) return (await answered(question, call)).answer
      const known = closing.signal.aborted ? undefined : kept.get(question, call)
      if (known !== undefined) return known
      const asked = new Asked(question, call)
      const [sentAt, generation] = [performance.now(), kept.generation]
      const { answer, url } = await answered(question, call)
      kept.set(asked, answer, url, sentAt, generation)
      return answer
    } catch (error) {
      if (onUnavailable === 'throw' || !(error instanceof UnavailableError)) throw error
      return denied(error.code, error.message)
    }
  }

  function answered(question: Question, call: CallOptions): Promise<Answered> {
    return new Promise((resolve, reject) => {
      if (closing.signal.aborted) throw new UnavailableError('ERR_CLIENT_CLOSED', 'the client is closed')
      enqueue({ question, resolve, reject }, call)
    })
  }

  function enqueue(one: Waiting, call: CallOptions): void {
    // Questions with one correlation ID, trace or signal may share a request, as those of one decideMany.
    const key = JSON.stringify([
      call.policy,
      call.token,
      call.minEpoch,
      call.correlationId,
      call.traceparent,
      call.tracestate,
      call.signal && signalNumber(call.signal),
    ])
    const group = groups.get(key)
    if (group !== undefined && group.waiting.length < maxBatch) group.waiting.push(one)
    else {
      // One that is full keeps its place and gives up its name.
      if (group !== undefined) {
        groups.delete(key)
        groups.set(`${key} ${fullGroups++}`, group)
      }
      groups.set(key, { options: call, waiting: [one] })
    }
    if (isScheduled) return
    isScheduled = true
    queueMicrotask(flush)
  }

  function flush(): void {
    isScheduled = false
    for (const [key, group] of groups) {
      if (underWay >= maxRequests) return
      groups.delete(key)
      underWay++
      void send(group).finally(() => {
        underWay--
        flush()
      })
    }
  }

  async function send({ options: call, waiting }: Group): Promise<void> {
    try {
      const { answers, url } = await request(bodyOf(waiting, call), call, waiting.length)
      for (const [i, { resolve }] of waiting.entries()) resolve({ answer: answers[i] as Answer, url })
    } catch (error) {
      refuse(
        waiting,
        error instanceof UnavailableError ? error : new UnavailableError('ERR_CLIENT_FAILED', 'the request cannot be made', error),
      )
    }
  }

  /** Sends until there is an answer, or it is of no use any longer. */
  async function request(body: string, call: CallOptions, count: number): Promise<{ answers: Answer[]; url: string }> {
    const headers = headersOf(call)
    const until = performance.now() + timeoutMs
    let failure = new UnavailableError('ERR_CLIENT_CIRCUIT_OPEN', 'all services have failed and are left alone for a while')
    let avoid: string | undefined
    for (let attempt = 1; ; attempt++) {
      const endpoint = endpoints.take(avoid)
      const leftMs = until - performance.now()
      if (endpoint === undefined) throw failure
      if (leftMs <= 0) {
        endpoints.abandoned(endpoint)
        throw failure
      }
      const timer = AbortSignal.timeout(Math.ceil(Math.min(leftMs, attemptMs)))
      const given = call.signal === undefined ? [] : [call.signal]
      try {
        const answers = await sendOnce(endpoint.url, body, headers, count, AbortSignal.any([timer, closing.signal, ...given]))
        endpoints.succeeded(endpoint)
        return { answers, url: endpoint.url }
      } catch (error) {
        if (closing.signal.aborted || call.signal?.aborted === true) {
          endpoints.abandoned(endpoint)
          throw new UnavailableError(
            closing.signal.aborted ? 'ERR_CLIENT_CLOSED' : 'ERR_CLIENT_ABORTED',
            'nobody waits for the answer any longer',
          )
        }
        // What the service said of the request itself is no failure of the service, and would be said again.
        if (error instanceof Refusal) {
          endpoints.succeeded(endpoint)
          throw new UnavailableError(error.code, error.message)
        }
        endpoints.failed(endpoint)
        avoid = endpoint.url
        failure = timer.aborted
          ? new UnavailableError('ERR_CLIENT_TIMEOUT', 'the service did not answer in time')
          : new UnavailableError('ERR_CLIENT_UNREACHABLE', `the service cannot be asked: ${(error as Error).message}`, error)
        if (attempt >= maxAttempts || !endpoints.mayRetry()) throw failure
        await pause(attempt, until - performance.now())
      }
    }
  }

  async function sendOnce(
    url: string,
    body: string,
    headers: Readonly<Record<string, string>>,
    count: number,
    signal: AbortSignal,
  ): Promise<Answer[]> {
    const response = await (ways.get(url) as Way).fetch('/v1/decide', { method: 'POST', headers, body, signal })
    const text = await readText(response, maxAnswerBytes)
    if (response.status !== 200) {
      // Overload, and what the service has trouble with itself, another one may not have.
      if (response.status >= 500 || response.status === 429) throw new Error(`its status is ${response.status}`)
      throw refusalOf(response.status, text)
    }
    const value = JSON.parse(text) as { readonly evaluations?: unknown }
    if (count === 1) return [readAnswer(value)]
    if (!Array.isArray(value.evaluations) || value.evaluations.length !== count)
      throw new TypeError('what came is not one answer for each question')
    return value.evaluations.map(readAnswer)
  }

  /** What came with somebody's request is passed on only where it can be: it must not be what makes a service look broken. */
  function headersOf({ correlationId, traceparent, tracestate }: CallOptions): Readonly<Record<string, string>> {
    return {
      'content-type': 'application/json',
      'x-request-id': correlationId !== undefined && plain.test(correlationId) ? correlationId : crypto.randomUUID(),
      ...(traceparent !== undefined && plain.test(traceparent) && { traceparent }),
      ...(tracestate !== undefined && plain.test(tracestate) && { tracestate }),
    }
  }

  function refuse(waiting: readonly Waiting[], error: UnavailableError): void {
    for (const { reject } of waiting) reject(error)
  }
}

let fullGroups = 0
const signalNumbers = new WeakMap<AbortSignal, number>()
let signals = 0

/** Tells signals apart: questions that share one may share a request. */
function signalNumber(signal: AbortSignal): number {
  let number = signalNumbers.get(signal)
  if (number === undefined) {
    number = ++signals
    signalNumbers.set(signal, number)
  }
  return number
}

/** What the service said of the request itself. */
class Refusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

function refusalOf(status: number, text: string): Refusal {
  try {
    const { error } = JSON.parse(text) as { readonly error: { readonly code: unknown; readonly message: unknown } }
    if (typeof error.code === 'string') return new Refusal(error.code, String(error.message))
  } catch {
    // Somebody else answered.
  }
  return new Refusal('ERR_CLIENT_REFUSED', `the service refuses the request with the status ${status}`)
}

function bodyOf(waiting: readonly Waiting[], { policy, token, minEpoch }: CallOptions): string {
  const questions = waiting.map(({ question: { subject, action, resource, context } }) => ({ subject, action, resource, context }))
  const common = { policy, token, min_epoch: minEpoch }
  return JSON.stringify(questions.length === 1 ? { ...questions[0], ...common } : { evaluations: questions, ...common })
}

/** Longer with each attempt, and never the same for two clients. */
function pause(attempt: number, leftMs: number): Promise<void> {
  const ms = growingPauseMs(attempt, minDelayMs, maxDelayMs)
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, Math.min(ms, leftMs))))
}
