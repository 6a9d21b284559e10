// The one port of the core. The engine implements it, and everything else wraps it:
// recorded(explained(engine)); later recorded(guarded(cached(engine))).
import type { Decision, RecordedDecision } from './decision.ts'
import type { DecisionRequest } from './request.ts'

export interface Decider {
  /** @throws PdpError when the question cannot be tied to a policy */
  decide(request: DecisionRequest): Decision | Promise<Decision>
}

/** The outermost decider. Its answers are recorded, errors included, and it never throws. */
export interface RecordedDecider extends Decider {
  decide(request: DecisionRequest): RecordedDecision | Promise<RecordedDecision>
}
