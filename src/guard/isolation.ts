// The guard before every decision: callers and subjects that were revoked or quarantined are answered here, and the policy is not
// asked. Before budgets and whatever is remembered, so nothing that was decided earlier passes it.

import type { Decider } from '../decision/decider.ts'
import type { Decision } from '../decision/decision.ts'
import { textMemberOf } from '../decision/json-text.ts'
import type { Caller, DecisionRequest } from '../decision/request.ts'
import { PdpError } from '../errors.ts'

/** What holds for an identity. */
export interface Isolated {
  readonly effect: 'revoked' | 'quarantined'
  /** Names of actions that a quarantine leaves. */
  readonly allowedActions: readonly string[]
  readonly reason: string
}

/** A client is the one that an access token was given to: `issuer|client_id`. */
export type IdentityKind = 'caller' | 'client' | 'subject'

/** Who is isolated now. Must be quick: it is asked for every decision. */
export interface Isolations {
  /** Whether anybody is, by kind. */
  has(kind: IdentityKind): boolean
  find(kind: IdentityKind, id: string, nowMs: number): Isolated | undefined
}

export function withIsolation(inner: Decider, isolations: Isolations): Decider {
  return {
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const isolated = find(request)
      if (isolated === undefined) return inner.decide(request)
      const action = textMemberOf(request.action, 'name')
      // What is left is answered by the policy, which sees why it should look twice.
      if (isolated.effect === 'quarantined' && action !== undefined && isolated.allowedActions.includes(action)) {
        return inner.decide({ ...request, risk: JSON.stringify({ quarantined: true, reason: isolated.reason }) })
      }
      const code = isolated.effect === 'revoked' ? 'ERR_REVOKED' : 'ERR_QUARANTINED'
      const error = new PdpError(code, `the identity is ${isolated.effect}`)
      return { outcome: 'error', error, maxAgeMs: 0, cached: false, steps: 0 }
    },
  }

  function find({ caller, subject, verified, timeMs }: DecisionRequest): Isolated | undefined {
    const found = findIsolated(isolations, caller, timeMs)
    if (found !== undefined) return found
    const ofClient = verified === undefined ? undefined : findClient(isolations, verified.authority, verified.clientId, timeMs)
    if (ofClient !== undefined || !isolations.has('subject')) return ofClient
    for (const id of new Set([textMemberOf(subject, 'id'), verified?.id])) {
      const ofSubject = id === undefined ? undefined : isolations.find('subject', id, timeMs)
      if (ofSubject !== undefined) return ofSubject
    }
    return undefined
  }
}

/** What holds for a caller, or for the client that its token was given to. */
export function findIsolated(isolations: Isolations, { id, issuer, clientId }: Caller, nowMs: number): Isolated | undefined {
  const found = id === undefined || !isolations.has('caller') ? undefined : isolations.find('caller', id, nowMs)
  return found ?? findClient(isolations, issuer, clientId, nowMs)
}

/** Clients are told apart by their issuer, as callers are. */
function findClient(isolations: Isolations, issuer: string | undefined, clientId: string | undefined, nowMs: number): Isolated | undefined {
  if (issuer === undefined || clientId === undefined || !isolations.has('client')) return undefined
  return isolations.find('client', `${issuer}|${clientId}`, nowMs)
}
