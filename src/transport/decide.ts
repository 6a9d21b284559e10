// Asks the core every question of a body, in order, under the body's semantic. One answer or a list of answers.
import type { RecordedDecider } from '../decision/decider.ts'
import type { RecordedDecision } from '../decision/decision.ts'
import type { Caller, DecisionRequest, TraceIds } from '../decision/request.ts'
import type { PdpError, PdpErrorCode } from '../errors.ts'
import type { DecideBody, Question } from './decide-request.ts'
import { Turn } from './turn.ts'

/** What a transport established of one request. */
export interface RequestFacts {
  /** The protocol that asked. */
  readonly door: string
  readonly correlationId: string
  readonly trace: TraceIds | undefined
  readonly caller: Caller
}

/** Asks the only question of a body that is no batch. */
export function decideOne(body: DecideBody, facts: RequestFacts, decider: RecordedDecider): RecordedDecision | Promise<RecordedDecision> {
  return decider.decide(requestOf(body.questions[0] as Question, facts, body))
}

/**
 * Asks the questions of a batch, in order; it ends early where the semantic says so.
 * @param take gets each decision as soon as it is made: what is kept of a thousand is kept as small as can be
 * @throws PdpError of a decision without which there is no answer
 */
export async function decideEach(
  body: DecideBody,
  facts: RequestFacts,
  decider: RecordedDecider,
  take: (decision: RecordedDecision) => void,
): Promise<void> {
  const turn = new Turn()
  const isEachAsked = body.semantic === 'execute_all'
  /** Those that wait, for the network or for their records to be on the disk: some at a time, answered in their order. */
  const underWay: Promise<RecordedDecision>[] = []
  for (const question of body.questions) {
    const asked = decider.decide(requestOf(question, facts, body))
    if (isEachAsked && (asked instanceof Promise || underWay.length > 0)) {
      const waiting = Promise.resolve(asked)
      // Told below; another one may be told before.
      waiting.catch(() => {})
      underWay.push(waiting)
      if (underWay.length >= maxUnderWay) takeOne(await (underWay.shift() as Promise<RecordedDecision>))
    } else if (takeOne(asked instanceof Promise ? await asked : asked)) return
    if (turn.isLong) await turn.next()
  }
  for (const waiting of underWay) takeOne(await waiting)

  /** @returns whether that is the end */
  function takeOne(decision: RecordedDecision): boolean {
    if (decision.error !== undefined && isUnanswerable(decision.error)) throw decision.error
    take(decision)
    const allowed = decision.outcome === 'allow'
    return (body.semantic === 'deny_on_first_deny' && !allowed) || (body.semantic === 'permit_on_first_permit' && allowed)
  }
}

const maxUnderWay = 64

/** In a batch, only what no item could be answered for is the answer of all; a bad item has its own. */
export function isUnanswerable({ code }: PdpError): boolean {
  return unanswerable.has(code)
}

const unanswerable: ReadonlySet<PdpErrorCode> = new Set<PdpErrorCode>([
  'ERR_POLICY_RECOVERING',
  'ERR_NO_BUNDLE',
  'ERR_BUNDLE_EXPIRED',
  'ERR_LOG_UNAVAILABLE',
  'ERR_OVERLOADED',
  'ERR_DRAINING',
  'ERR_INTERNAL',
])

/** What a body says of all its questions. */
type Demands = Partial<Pick<DecideBody, 'bundle' | 'entrypoint' | 'minEpoch' | 'explain' | 'token'>>

export function requestOf(question: Question, facts: RequestFacts, demands: Demands): DecisionRequest {
  return {
    door: facts.door,
    correlationId: facts.correlationId,
    trace: facts.trace,
    caller: facts.caller,
    timeMs: Date.now(),
    input: question.input,
    subject: question.subject,
    action: question.action,
    resource: question.resource,
    bundle: demands.bundle,
    entrypoint: demands.entrypoint,
    minEpoch: demands.minEpoch,
    explain: demands.explain,
    token: demands.token,
    fault: question.fault,
  }
}
