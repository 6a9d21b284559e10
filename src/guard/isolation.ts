// The guard before every decision: callers and subjects that were revoked or quarantined are answered here, and the policy is not
// asked. Before budgets and whatever is remembered, so nothing that was decided earlier passes it.

import type { Decider } from '../decision/decider.ts'
import type { Decision } from '../decision/decision.ts'
import { membersOf } from '../decision/json-text.ts'
import type { DecisionRequest, JsonText } from '../decision/request.ts'
import { PdpError } from '../errors.ts'

/** What holds for an identity. */
export interface Isolated {
  readonly effect: 'revoked' | 'quarantined'
  /** Names of actions that a quarantine leaves. */
  readonly allowedActions: readonly string[]
  readonly reason: string
}

/** Who is isolated now. Must be quick: it is asked for every decision. */
export interface Isolations {
  /** Whether anybody is, by kind. */
  has(kind: 'caller' | 'subject'): boolean
  find(kind: 'caller' | 'subject', id: string, nowMs: number): Isolated | undefined
}

export function withIsolation(inner: Decider, isolations: Isolations): Decider {
  return {
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const isolated = find(request)
      if (isolated === undefined) return inner.decide(request)
      const action = textOf(request.action, 'name')
      // What is left is answered by the policy, which sees why it should look twice.
      if (isolated.effect === 'quarantined' && action !== undefined && isolated.allowedActions.includes(action)) {
        return inner.decide({ ...request, risk: JSON.stringify({ quarantined: true, reason: isolated.reason }) })
      }
      const code = isolated.effect === 'revoked' ? 'ERR_REVOKED' : 'ERR_QUARANTINED'
      const error = new PdpError(code, `the identity is ${isolated.effect}`)
      return { outcome: 'error', error, maxAgeMs: 0, cached: false, steps: 0 }
    },
  }

  function find(request: DecisionRequest): Isolated | undefined {
    const { caller, subject, timeMs } = request
    const ofCaller = isolations.has('caller') && caller.id !== undefined ? isolations.find('caller', caller.id, timeMs) : undefined
    if (ofCaller !== undefined || !isolations.has('subject')) return ofCaller
    const id = textOf(subject, 'id')
    return id === undefined ? undefined : isolations.find('subject', id, timeMs)
  }
}

function textOf(object: JsonText | undefined, key: string): string | undefined {
  const text = object?.startsWith('{') === true ? membersOf(object).get(key) : undefined
  return text?.startsWith('"') === true ? (JSON.parse(text) as string) : undefined
}
