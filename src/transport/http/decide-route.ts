// POST /v1/decide over HTTP: parse, ask the core, write the answer.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import { decideBatch, decideOne, type RequestFacts } from '../decide.ts'
import { toAnswer } from '../decide-answer.ts'
import { type DecideLimits, parseDecideBody } from '../decide-request.ts'
import { callerOf } from './authentication.ts'
import { sendError } from './errors.ts'
import { httpStatus } from './status.ts'

export function decideRoute(app: FastifyInstance, decider: RecordedDecider, limits: DecideLimits): void {
  app.post('/v1/decide', (request, reply) => {
    const body = parseDecideBody(request.body as string, limits)
    const facts = factsOf(request)
    if (body.isBatch) {
      return decideBatch(body, facts, decider).then((decisions) => {
        const unavailable = decisions.find((d) => statusOf(d) >= 500)
        if (unavailable?.error !== undefined) return sendError(request, reply, unavailable.error)
        return send(reply, `{"evaluations":[${decisions.map(toAnswer).join(',')}]}`)
      })
    }
    const decision = decideOne(body, facts, decider)
    if (decision instanceof Promise) return decision.then((decided) => sendDecision(request, reply, decided))
    return sendDecision(request, reply, decision)
  })
}

function factsOf(request: FastifyRequest): RequestFacts {
  return { correlationId: request.id, trace: childSpan(request.headers.traceparent as string | undefined), caller: callerOf(request) }
}

function sendDecision(request: FastifyRequest, reply: FastifyReply, decision: RecordedDecision): FastifyReply {
  if (decision.error !== undefined && statusOf(decision) !== 200) return sendError(request, reply, decision.error)
  return send(reply, toAnswer(decision))
}

function statusOf(decision: RecordedDecision): number {
  return decision.error === undefined ? 200 : httpStatus[decision.error.code]
}

function send(reply: FastifyReply, json: string): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').header('cache-control', 'no-store').send(json)
}
