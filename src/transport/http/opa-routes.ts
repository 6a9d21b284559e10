// OPA's REST API for clients that have it: the Data API, v1 and v0, batches, the default decision, data filters.
// Refused, and it says so: what writes (policies and data come in bundles), and ad-hoc queries.
// @see https://www.openpolicyagent.org/docs/rest-api
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import type { ExplainMode, FilterDemand, JsonText } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { traceOfFields } from '../../telemetry/trace-context.ts'
import type { DecideLimits } from '../decide-request.ts'
import { prettyJson } from '../pretty-json.ts'
import { jsonHeaders } from './answer.ts'
import { callerOf } from './authentication.ts'
import { isJsonType, registerJsonBody } from './body.ts'
import { fromFastify } from './errors.ts'
import { answerBatch, inputsOfBody } from './opa-batch.ts'
import { parseCompileRequest, refusedFilter, toCompileAnswer } from './opa-compile.ts'
import { inputOfBody, inputOfText, type OpaQuestion, partsOf, toV0Answer, toV1Answer } from './opa-data.ts'
import { opaFailure } from './opa-direct.ts'
import { retryAfterS } from './status.ts'

export interface OpaOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly maxBodyBytes: number
  readonly info: () => { readonly version: string }
  readonly opa: {
    /** @throws PdpError ERR_REGO */
    yamlToJson(text: string): Promise<JsonText>
  }
}

export function opaRoutes(app: FastifyInstance, { decider, limits, maxBodyBytes, info, opa }: OpaOptions): void {
  // A caller's input may have any key: it is passed on, never looked up by them.
  const inputLimits = { ...limits, forbidPrototypeKeys: false }
  registerJsonBody(app, maxBodyBytes, { isType: () => true, mayBeEmpty: true })
  app.addHook('onRequest', async (request) => refuseFormOfPage(request))
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) => {
    const { status, headers, body } = opaFailure(fromFastify(error), request.id, request.method, request.log)
    return reply.code(status).headers(headers).send(body)
  })

  const v1 = async (request: FastifyRequest, reply: FastifyReply) => {
    const began = process.hrtime.bigint()
    const path = pathOf(request)
    refuseStrict(request)
    const [metrics, provenance] = [isSet(request, 'metrics') || isSet(request, 'instrument'), isSet(request, 'provenance')]
    const explain = explainOf(request)
    const input =
      request.method === 'GET' ? inputOfText(parameter(request, 'input'), inputLimits) : inputOfBody(await jsonOf(request), inputLimits)
    const decision = await ask({ input, path }, request, explain)
    const handlerNs = process.hrtime.bigint() - began
    const more = { ...(provenance && { version: info().version }), ...(metrics && { handlerNs }), explained: explain !== undefined }
    return send(request, reply, toV1Answer(decision, path, more))
  }
  const v0 = (request: FastifyRequest, reply: FastifyReply) => answerV0(pathOf(request), request, reply)
  const answerV0 = async (path: string | undefined, request: FastifyRequest, reply: FastifyReply) => {
    const input = inputOfText(await jsonOf(request), inputLimits)
    return send(request, reply, toV0Answer(await ask({ input, path }, request), path))
  }
  app.route({ method: ['GET', 'POST'], url: '/v1/data', handler: v1 })
  app.route({ method: ['GET', 'POST'], url: '/v1/data/*', handler: v1 })
  app.post('/v0/data', v0)
  app.post('/v0/data/*', v0)
  app.post('/', (request, reply) => answerV0(undefined, request, reply))

  const batch = async (request: FastifyRequest, reply: FastifyReply) => {
    const path = pathOf(request)
    refuseStrict(request)
    const inputs = inputsOfBody(await jsonOf(request), { ...limits, forbidPrototypeKeys: false })
    const options = { ...(isSet(request, 'provenance') && { version: info().version }) }
    return send(request, reply, await answerBatch(inputs, path, options, (input) => ask({ input, path }, request)))
  }
  app.post('/v1/batch/data', batch)
  app.post('/v1/batch/data/*', batch)

  app.post('/v1/compile/*', async (request, reply) => {
    const path = pathOf(request)
    const { accept } = request.headers
    const { input, demand } = parseCompileRequest(await jsonOf(request), accept, inputLimits)
    const decision = await ask({ input, path }, request, undefined, demand)
    const refused = refusedFilter(decision)
    if (refused !== undefined) return send(request, reply, refused)
    return send(request, reply, { status: 200, body: toCompileAnswer(decision, accept as string) }, accept)
  })

  const refuse = () => {
    throw new PdpError('ERR_METHOD_NOT_ALLOWED', 'policies and data come in bundles, and only entrypoints are asked: this is not offered')
  }
  for (const url of ['/v1/policies', '/v1/policies/*', '/v1/query', '/v1/compile'])
    app.route({ method: ['GET', 'POST', 'PUT', 'DELETE'], url, handler: refuse })
  for (const url of ['/v1/data', '/v1/data/*']) app.route({ method: ['PUT', 'PATCH', 'DELETE'], url, handler: refuse })

  /** The body as JSON text; OPA takes YAML, too. */
  async function jsonOf(request: FastifyRequest): Promise<string | undefined> {
    const text = request.body as string | undefined
    if (text === undefined || text === '' || request.headers['content-type']?.includes('yaml') !== true) return text
    try {
      return await opa.yamlToJson(text)
    } catch (cause) {
      throw new PdpError('ERR_INVALID_REQUEST', 'the body is not valid YAML', { cause })
    }
  }

  function ask(
    { input, path }: OpaQuestion,
    request: FastifyRequest,
    explain?: ExplainMode,
    filter?: FilterDemand,
  ): RecordedDecision | Promise<RecordedDecision> {
    return decider.decide({
      door: filter === undefined ? 'opa' : 'opa-compile',
      correlationId: request.id,
      trace: traceOfFields(request.headers),
      caller: callerOf(request),
      timeMs: Date.now(),
      input,
      ...partsOf(input),
      entrypoint: path,
      explain,
      filter,
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

const explainModes: Readonly<Record<string, ExplainMode>> = { notes: 'notes', fails: 'fails', full: 'full', debug: 'full' }

function explainOf(request: FastifyRequest): ExplainMode | undefined {
  const value = parameter(request, 'explain')
  return value === undefined || value === 'off' || !Object.hasOwn(explainModes, value) ? undefined : explainModes[value]
}

function send(
  request: FastifyRequest,
  reply: FastifyReply,
  { status, body }: { status: number; body: string },
  contentType?: string,
): FastifyReply {
  if (status === 503) reply.header('retry-after', String(retryAfterS))
  reply.code(status).headers(jsonHeaders)
  if (contentType !== undefined) reply.header('content-type', contentType)
  return reply.send(isSet(request, 'pretty') ? `${prettyJson(body)}\n` : body)
}
