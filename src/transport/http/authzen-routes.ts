// OpenID AuthZEN's Authorization API 1.0: Access Evaluation and Access Evaluations. The question is the native one without its
// own members; the answer is a decision with its context.
// @see https://openid.net/specs/authorization-api-1_0.html §6, §7, §10 (HTTPS binding)
import type { FastifyError, FastifyInstance } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import { contextMembers, ownKeys } from '../decide-answer.ts'
import type { DecideLimits } from '../decide-request.ts'
import type { Statuses } from './answer.ts'
import { createDecideHandler, decideRoute } from './decide-route.ts'
import { fromFastify, sendError } from './errors.ts'

export interface AuthzenOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
}

const evaluation = ['subject', 'action', 'resource', 'context']
const evaluations = [...evaluation, 'evaluations', 'options']

/** Whatever is wrong with a request is 400 here. */
const statuses: Statuses = { ERR_UNSUPPORTED_MEDIA_TYPE: 400, ERR_UNSUPPORTED_ENCODING: 400 }

export function authzenRoutes(app: FastifyInstance, { decider, limits }: AuthzenOptions): void {
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) => sendError(request, reply, fromFastify(error), statuses))
  const protocol = { door: 'authzen', toAnswer }
  decideRoute(app, '/access/v1/evaluation', createDecideHandler(decider, limits, { ...protocol, known: evaluation }))
  decideRoute(app, '/access/v1/evaluations', createDecideHandler(decider, limits, { ...protocol, known: evaluations }))
}

const taken = new Set([...ownKeys, 'id'])

/** The ID of the record stands beside what the policy says. */
function toAnswer(decision: RecordedDecision): string {
  const members = contextMembers(decision, taken)
  return `{"decision":${decision.outcome === 'allow'},"context":{"id":"${decision.id}"${members === '' ? '' : ','}${members}}}`
}
