// OpenID AuthZEN's Authorization API 1.0: evaluations, searches, metadata. The question is the native one without its own
// members; the answer is a decision with its context.
// @see https://openid.net/specs/authorization-api-1_0.html §6 to §10
import type { FastifyError, FastifyInstance } from 'fastify'
import type { Candidates } from '../../decision/candidates.ts'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import { traceOfFields } from '../../telemetry/trace-context.ts'
import { type MetadataKey, metadataPath, signMetadata, toMetadata } from '../authzen-metadata.ts'
import { search } from '../authzen-search.ts'
import { contextMembers, ownKeys } from '../decide-answer.ts'
import type { DecideLimits } from '../decide-request.ts'
import { createPageTokens } from '../page-token.ts'
import { jsonHeaders, type Statuses } from './answer.ts'
import { callerOf } from './authentication.ts'
import { createDecideHandler, decideRoute } from './decide-route.ts'
import { fromFastify, sendError } from './errors.ts'

export interface AuthzenOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  /** Those of the bundle that is asked. */
  readonly candidates: () => Candidates
  readonly authzen: {
    /** Where clients reach the service; undefined: https and the Host of the request. */
    readonly publicUrl: string | undefined
    /** As it is now; undefined: metadata are not signed. */
    readonly metadataKey: () => MetadataKey | undefined
  }
}

/** The subject's own token is no part of the standard; who sends one means it. */
const evaluation = ['subject', 'action', 'resource', 'context', 'token']
const evaluations = [...evaluation, 'evaluations', 'options']

/** Whatever is wrong with a request is 400 here. */
const statuses: Statuses = { ERR_UNSUPPORTED_MEDIA_TYPE: 400, ERR_UNSUPPORTED_ENCODING: 400 }

export function authzenRoutes(app: FastifyInstance, options: AuthzenOptions): void {
  const { decider, limits, candidates } = options
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) => sendError(request, reply, fromFastify(error), statuses))
  const protocol = { door: 'authzen', toAnswer }
  decideRoute(app, '/access/v1/evaluation', createDecideHandler(decider, limits, { ...protocol, known: evaluation }))
  decideRoute(app, '/access/v1/evaluations', createDecideHandler(decider, limits, { ...protocol, known: evaluations }))

  const searchOptions = { decider, limits, candidates, tokens: createPageTokens() }
  for (const kind of ['subject', 'resource', 'action'] as const) {
    app.post(`/access/v1/search/${kind}`, async (request, reply) => {
      const trace = traceOfFields(request.headers)
      const facts = { door: 'authzen-search', correlationId: request.id, trace, caller: callerOf(request) }
      const answer = await search(kind, request.body as string, facts, searchOptions)
      return typeof answer === 'string' ? reply.headers(jsonHeaders).send(answer) : sendError(request, reply, answer, statuses)
    })
  }
}

/** The one route that has no body. */
export function authzenMetadataRoute(app: FastifyInstance, { candidates, authzen }: AuthzenOptions): void {
  app.get(metadataPath, async (request, reply) => {
    const metadata = toMetadata(authzen.publicUrl ?? `https://${request.headers.host}`, candidates().kinds)
    const key = authzen.metadataKey()
    const body = key === undefined ? metadata : await signMetadata(metadata, key)
    return reply.headers(jsonHeaders).send(JSON.stringify(body))
  })
}

const taken = new Set([...ownKeys, 'id'])

/** The ID of the record stands beside what the policy says. */
function toAnswer(decision: RecordedDecision): string {
  const members = contextMembers(decision, taken)
  return `{"decision":${decision.outcome === 'allow'},"context":{"id":"${decision.id}"${members === '' ? '' : ','}${members}}}`
}
