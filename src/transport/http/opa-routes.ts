// OPA's REST API for clients that have it: the Data API, v1 and v0, and the default decision.
// Not here: what writes (policies and data come in bundles), ad-hoc queries, partial evaluation.
// @see https://www.openpolicyagent.org/docs/rest-api
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import { PdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import type { DecideLimits } from '../decide-request.ts'
import { errorAnswer, jsonHeaders } from './answer.ts'
import { callerOf } from './authentication.ts'
import { isJsonType, registerJsonBody } from './body.ts'
import { fromFastify } from './errors.ts'
import {
  inputOfBody,
  inputOfText,
  type OpaAnswer,
  type OpaQuestion,
  opaCodeOf,
  opaError,
  partsOf,
  toV0Answer,
  toV1Answer,
} from './opa-data.ts'
import { retryAfterS } from './status.ts'

export interface OpaOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly maxBodyBytes: number
  readonly info: () => { readonly version: string }
}

export function opaRoutes(app: FastifyInstance, { decider, limits, maxBodyBytes, info }: OpaOptions): void {
  // A caller's input may have any key: it is passed on, never looked up by them.
  const inputLimits = { ...limits, forbidPrototypeKeys: false }
  registerJsonBody(app, maxBodyBytes, { isType: () => true, mayBeEmpty: true })
  app.addHook('onRequest', async (request) => refuseFormOfPage(request))
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) => {
    const refused = fromFastify(error)
    const { status, headers } = errorAnswer(refused, request.id, request.method, request.log)
    return reply
      .code(status)
      .headers(headers)
      .send(opaError(opaCodeOf(status), refused.message, refused.code))
  })

  const v1 = async (request: FastifyRequest, reply: FastifyReply) => {
    const began = process.hrtime.bigint()
    const path = pathOf(request)
    refuseStrict(request)
    const [metrics, provenance] = [isSet(request, 'metrics'), isSet(request, 'provenance')]
    const input =
      request.method === 'GET'
        ? inputOfText(parameter(request, 'input'), inputLimits)
        : inputOfBody(request.body as string | undefined, inputLimits)
    const decision = await ask({ input, path }, request)
    const handlerNs = process.hrtime.bigint() - began
    return send(reply, toV1Answer(decision, path, { ...(provenance && { version: info().version }), ...(metrics && { handlerNs }) }))
  }
  const v0 = (request: FastifyRequest, reply: FastifyReply) => answerV0(pathOf(request), request, reply)
  const answerV0 = async (path: string | undefined, request: FastifyRequest, reply: FastifyReply) => {
    const input = inputOfText(request.body as string | undefined, inputLimits)
    return send(reply, toV0Answer(await ask({ input, path }, request), path))
  }
  app.route({ method: ['GET', 'POST'], url: '/v1/data', handler: v1 })
  app.route({ method: ['GET', 'POST'], url: '/v1/data/*', handler: v1 })
  app.post('/v0/data', v0)
  app.post('/v0/data/*', v0)
  app.post('/', (request, reply) => answerV0(undefined, request, reply))

  function ask({ input, path }: OpaQuestion, request: FastifyRequest): RecordedDecision | Promise<RecordedDecision> {
    return decider.decide({
      door: 'opa',
      correlationId: request.id,
      trace: childSpan(request.headers.traceparent as string | undefined),
      caller: callerOf(request),
      timeMs: Date.now(),
      input,
      ...partsOf(input),
      entrypoint: path,
    })
  }
}

/** The path behind `/data`, without a slash at its end; empty, which no entrypoint is, for the root. */
function pathOf(request: FastifyRequest): string {
  return (request.params as { '*'?: string })['*']?.replace(/\/$/, '') ?? ''
}

/** OPA takes any content type; from a page in a browser only the one that its user's consent is asked for. */
function refuseFormOfPage({ headers }: FastifyRequest): void {
  if (headers.origin !== undefined && headers['content-type'] !== undefined && !isJsonType(headers['content-type'])) {
    throw new PdpError('ERR_UNSUPPORTED_MEDIA_TYPE', 'the content type must be application/json')
  }
}

function refuseStrict(request: FastifyRequest): void {
  if (isSet(request, 'strict-builtin-errors')) {
    throw new PdpError('ERR_INVALID_REQUEST', 'strict-builtin-errors is not available: the policy decides with errors as undefined')
  }
}

function parameter(request: FastifyRequest, name: string): string | undefined {
  const value = (request.query as Record<string, string | string[] | undefined>)[name]
  if (Array.isArray(value)) throw new PdpError('ERR_INVALID_REQUEST', `the parameter \`${name}\` is there more than once`)
  return value
}

/** As OPA reads its switches: there, and neither `false` nor `0`. */
function isSet(request: FastifyRequest, name: string): boolean {
  const value = parameter(request, name)
  return value !== undefined && value !== 'false' && value !== '0'
}

function send(reply: FastifyReply, { status, body }: OpaAnswer): FastifyReply {
  if (status === 503) reply.header('retry-after', String(retryAfterS))
  return reply.code(status).headers(jsonHeaders).send(body)
}
