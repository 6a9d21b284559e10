// POST /v1/decide and OPA's /v1/data as nearly every client sends them, answered without Fastify's way through a request, which
// takes longer than the decision. What is in any way unusual (another encoding, no length, a parameter, a refusal before the
// body is read) is left to Fastify's route, which asks the same core: there is one place for each answer, and this is not one.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../../decision/request.ts'
import { decodeUtf8 } from '../../decision/utf8.ts'
import { PdpError, toPdpError } from '../../errors.ts'
import { traceOfFields } from '../../telemetry/trace-context.ts'
import { type Admission, needsTime } from '../admission.ts'
import { answerInTurns } from '../answer-in-turns.ts'
import { correlationId } from '../correlation.ts'
import { type Answer, jsonHeaders } from './answer.ts'
import { callerOfRequest } from './authentication.ts'
import { isJsonType } from './body.ts'
import type { RequestHeaders } from './decide-route.ts'

/** What is answered here. */
export interface DirectRoute {
  /** The body of an answer with the status 200, another answer, or the error that is the answer. */
  readonly handle: (body: string, headers: RequestHeaders) => DirectAnswer | Promise<DirectAnswer>
  /** The protocol's own form of a failure; what failed is logged. */
  fail(error: PdpError, correlationId: string): Answer
}

type DirectAnswer = string | PdpError | Answer

export interface DirectOptions {
  /** @param target path and query as they were sent */
  readonly route: (target: string) => DirectRoute | undefined
  /** @throws PdpError when a request must not be answered */
  readonly guard: (request: IncomingMessage) => void
  readonly decideScope: Admission | undefined
  readonly maxBodyBytes: number
  readonly isDraining: () => boolean
}

interface Waiting {
  readonly route: DirectRoute
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly id: string
  readonly caller: Caller
  readonly body: Buffer
}

const plainLength = /^[1-9][0-9]{0,8}$/

/** @returns a listener for requests that says whether it takes one */
export function answerDirectly(options: DirectOptions): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { guard, decideScope, maxBodyBytes } = options
  const take = answerInTurns(ask, send)

  return (request, response) => {
    if (request.method !== 'POST' || !hasPlainBody(request, maxBodyBytes)) return false
    const route = options.route(request.url as string)
    if (route === undefined) return false
    try {
      guard(request)
      if (needsTime(decideScope, request.headers.authorization)) return false
      const caller = callerOfRequest(request, decideScope) as Caller
      const id = correlationId(request.headers['x-request-id'])
      receive(request, (body) => take({ route, request, response, id, caller, body }))
      return true
    } catch {
      return false
    }
  }

  function ask({ route, request, id, caller, body }: Waiting): DirectAnswer | Promise<DirectAnswer> {
    try {
      const answer = route.handle(decodeUtf8(body), { correlationId: id, trace: traceOfFields(request.headers), caller })
      return answer instanceof Promise ? answer.catch(toPdpError) : answer
    } catch (thrown) {
      return toPdpError(thrown)
    }
  }

  function send({ route, response, id }: Waiting, answer: DirectAnswer): void {
    if (typeof answer === 'string') write(response, id, 200, answerHeaders, answer)
    else {
      const { status, headers, body } = answer instanceof PdpError ? route.fail(answer, id) : answer
      write(response, id, status, Object.entries(headers).flat(), body)
    }
  }

  function write(response: ServerResponse, id: string, status: number, headers: readonly string[], body: string): void {
    const all = ['x-request-id', id, 'content-length', String(Buffer.byteLength(body)), ...headers]
    if (options.isDraining()) all.push('connection', 'close')
    response.writeHead(status, all)
    response.end(body)
  }
}

const answerHeaders = Object.entries(jsonHeaders).flat()

function hasPlainBody({ headers }: IncomingMessage, maxBodyBytes: number): boolean {
  const length = headers['content-length']
  return (
    length !== undefined &&
    plainLength.test(length) &&
    Number(length) <= maxBodyBytes &&
    headers['content-encoding'] === undefined &&
    headers['transfer-encoding'] === undefined &&
    headers.expect === undefined &&
    isJsonType(headers['content-type'])
  )
}

/** Node ends a request only when as many bytes came as Content-Length says. */
function receive(request: IncomingMessage, done: (body: Buffer) => void): void {
  let first: Buffer | undefined
  let all: Buffer[] | undefined
  request.on('data', (chunk: Buffer) => {
    if (first === undefined) first = chunk
    else {
      all ??= [first]
      all.push(chunk)
    }
  })
  request.on('end', () => done(all === undefined ? (first as Buffer) : Buffer.concat(all)))
}
