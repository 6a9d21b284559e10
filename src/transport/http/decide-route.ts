// Questions in AuthZEN's terms over HTTP: parse, ask the core, put the answer into words. As a handler of texts, and as
// Fastify's route to it.
import type { FastifyInstance } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import type { Caller, TraceIds } from '../../decision/request.ts'
import type { PdpError } from '../../errors.ts'
import { traceOfFields } from '../../telemetry/trace-context.ts'
import { decideEach, decideOne } from '../decide.ts'
import { toAnswer } from '../decide-answer.ts'
import { type DecideLimits, parseDecideBody } from '../decide-request.ts'
import { jsonHeaders } from './answer.ts'
import { callerOf } from './authentication.ts'
import { sendError } from './errors.ts'
import { httpStatus } from './status.ts'

export interface RequestHeaders {
  readonly correlationId: string
  readonly trace: TraceIds | undefined
  readonly caller: Caller
}

/** What tells one protocol with questions in AuthZEN's terms from another. */
export interface Protocol {
  /** Its name in the record. */
  readonly door: string
  /** Members of the body that it has; absent: all that the native one has. */
  readonly known?: readonly string[]
  toAnswer(decision: RecordedDecision): string
}

const native: Protocol = { door: 'decide', toAnswer }

/**
 * From a body to the JSON text of the answer, or to the error that is the answer.
 * @throws PdpError as parseDecideBody
 */
export type DecideHandler = (body: string, headers: RequestHeaders) => string | PdpError | Promise<string | PdpError>

export function createDecideHandler(decider: RecordedDecider, limits: DecideLimits, protocol: Protocol = native): DecideHandler {
  const { door, known, toAnswer } = protocol
  return (text, { correlationId, trace, caller }) => {
    const body = parseDecideBody(text, limits, known)
    const facts = { door, correlationId, trace, caller }
    if (body.isBatch) {
      const answers: string[] = []
      const decided = decideEach(body, facts, decider, (decision) => answers.push(toAnswer(decision)))
      return decided.then(() => `{"evaluations":[${answers.join(',')}]}`)
    }
    const decision = decideOne(body, facts, decider)
    return decision instanceof Promise ? decision.then(answerOf) : answerOf(decision)
  }

  function answerOf(decision: RecordedDecision): string | PdpError {
    return decision.error !== undefined && statusOf(decision) !== 200 ? decision.error : toAnswer(decision)
  }
}

function statusOf(decision: RecordedDecision): number {
  return decision.error === undefined ? 200 : httpStatus[decision.error.code]
}

export function decideRoute(app: FastifyInstance, path: string, decide: DecideHandler): void {
  app.post(path, async (request, reply) => {
    const trace = traceOfFields(request.headers)
    const answer = await decide(request.body as string, { correlationId: request.id, trace, caller: callerOf(request) })
    if (typeof answer !== 'string') return sendError(request, reply, answer)
    return reply.headers(jsonHeaders).send(answer)
  })
}
