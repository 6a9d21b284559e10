// The input that a policy sees: what the door passed on, and under one key what the service established itself.

import { membersOf, toSingleLine } from '../decision/json-text.ts'
import type { Caller, DecisionRequest, JsonText } from '../decision/request.ts'

/** @returns the facts under the trusted key */
export function trustedFacts(request: DecisionRequest, readsTime: boolean): JsonText {
  const caller = callerFacts(request.caller)
  const risk = request.risk === undefined ? '' : `,"risk":${request.risk}`
  const token = request.verified === undefined ? '' : `,"token":${request.verified.claims}`
  return readsTime ? `{"caller":${caller}${token}${risk},"time":${request.timeMs}000000}` : `{"caller":${caller}${token}${risk}}`
}

const known = new WeakMap<Caller, JsonText>()

/** A caller comes again with every request of its connection or batch. */
function callerFacts(caller: Caller): JsonText {
  let facts = known.get(caller)
  if (facts === undefined) {
    const { authenticated, id, address, issuer, clientId, scopes } = caller
    const spiffeId = id?.startsWith('spiffe://') === true ? id : undefined
    facts = toSingleLine(JSON.stringify({ authenticated, id, spiffe_id: spiffeId, issuer, client_id: clientId, scopes, address }))
    known.set(caller, facts)
  }
  return facts
}

/**
 * Adds the trusted facts. An input that is not an object is left alone; a key of the same name that the caller
 * sent is dropped.
 * @param facts undefined: the policy does not read them, so they are not written into its memory
 */
export function withTrusted(input: JsonText | undefined, key: string, facts: JsonText | undefined): JsonText | undefined {
  if (input === undefined || !input.startsWith('{')) return input
  // The key can hide behind escapes, so either spelling leads to the careful way.
  if (input.includes(`"${key}"`) || input.includes('\\')) return rebuild(input, key, facts)
  if (facts === undefined) return input
  return input === '{}' ? `{"${key}":${facts}}` : `{"${key}":${facts},${input.slice(1)}`
}

function rebuild(input: JsonText, key: string, facts: JsonText | undefined): JsonText {
  const members = facts === undefined ? [] : [`"${key}":${facts}`]
  for (const [name, value] of membersOf(input)) if (name !== key) members.push(`${JSON.stringify(name)}:${value}`)
  return `{${members.join(',')}}`
}
