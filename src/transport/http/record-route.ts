// POST /v1/records: decisions that callers made themselves, with a bundle that they have from here, for the decision log. What is told
// is checked for its shape; that it is true, only its teller can say, whose name the record bears. Behind the role that gets bundles.
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { RecordedDecision } from '../../decision/decision.ts'
import { membersOf } from '../../decision/json-text.ts'
import type { Caller, DecisionRequest } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError, pdpErrorCodes } from '../../errors.ts'
import { invalid } from '../decide-request.ts'
import { Turn } from '../turn.ts'
import { callerOf } from './authentication.ts'
import { registerJsonBody } from './body.ts'
import { type HasRole, operatorOf } from './operator-request.ts'

export interface ToldDecision {
  readonly request: DecisionRequest
  readonly decision: RecordedDecision
  /** Microseconds from the question to the decision. */
  readonly durationUs: number
}

export interface RecordRouteOptions {
  readonly limits: JsonLimits
  readonly maxBodyBytes: number
  readonly hasRole: HasRole
  /** @throws PdpError ERR_LOG_UNAVAILABLE */
  readonly recordTold: (told: readonly ToldDecision[]) => Promise<void>
}

/** The protocol that asked, in the records. */
const door = 'embedded'
const maxRecords = 10_000
/** A question lies deeper in its record than in its request. */
const recordDepth = 2

const text = z.string().max(512)
const json = z.looseObject({}).optional()
const schema = z.object({
  id: z.uuid(),
  /** Milliseconds since 1970. */
  time: z.int().min(0).max(253_402_300_799_999),
  correlation_id: z.string().max(256),
  trace_id: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
  span_id: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
  input: z.looseObject({}),
  trusted: json,
  nd: json,
  policy: z.object({ bundle: text.min(1), entrypoint: text, revision: text, digest: text, epoch: z.int().min(1) }),
  outcome: z.enum(['allow', 'deny', 'error']),
  error: z.object({ code: z.enum(pdpErrorCodes), message: z.string().max(4_096) }).optional(),
  cached: z.boolean(),
  steps: z.int().min(0),
  duration_us: z.int().min(0),
})

export function recordRoute(app: FastifyInstance, { limits, maxBodyBytes, hasRole, recordTold }: RecordRouteOptions): void {
  const lineLimits = { ...limits, maxDepth: limits.maxDepth + recordDepth }
  registerJsonBody(app, maxBodyBytes, { isType: (type) => type === 'application/x-ndjson', mayBeEmpty: false })
  // The role is looked at before anything is read.
  app.addHook('onRequest', async (request) => void operatorOf(request, 'pull', hasRole))
  app.post('/v1/records', async (request, reply) => {
    const lines = typeof request.body === 'string' ? request.body.split('\n').filter(Boolean) : []
    if (lines.length === 0 || lines.length > maxRecords)
      throw new PdpError('ERR_INVALID_REQUEST', `the body must be 1 to ${maxRecords} lines, each a record`)
    const caller = callerOf(request)
    const told: ToldDecision[] = []
    const turn = new Turn()
    for (const line of lines) {
      told.push(toldDecision(line, caller, lineLimits))
      if (turn.isLong) await turn.next()
    }
    // All of them or none, so that what is refused can be told again.
    await recordTold(told)
    return reply.code(204).send()
  })
}

/** @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST */
function toldDecision(line: string, caller: Caller, limits: JsonLimits): ToldDecision {
  const { value, members } = parseStrictJson(line, limits)
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalid(parsed.error)
  const { id, time, correlation_id, trace_id, span_id, policy, outcome, error, cached, steps, duration_us } = parsed.data
  if ((outcome === 'error') !== (error !== undefined))
    throw new PdpError('ERR_INVALID_REQUEST', 'error: must be there where it is the outcome')
  const input = members.get('input') as string
  const asked = membersOf(input)
  return {
    request: {
      door,
      correlationId: correlation_id,
      trace:
        trace_id === undefined || span_id === undefined
          ? undefined
          : { traceId: trace_id, spanId: span_id, parentId: '', isSampled: false },
      caller,
      timeMs: time,
      subject: asked.get('subject'),
      action: asked.get('action'),
      resource: asked.get('resource'),
      input,
    },
    decision: {
      id,
      outcome,
      error: error === undefined ? undefined : new PdpError(error.code, error.message),
      policy,
      reasons: members.get('reasons'),
      obligations: members.get('obligations'),
      trusted: members.get('trusted'),
      nd: members.get('nd'),
      maxAgeMs: 0,
      cached,
      steps,
    },
    durationUs: duration_us,
  }
}
