// What an entrypoint returned, read as a decision. Only exactly `true` allows.

import { membersOf } from './json-text.ts'
import type { JsonText } from './request.ts'

export interface ReadResult {
  readonly allowed: boolean
  readonly reasons?: JsonText | undefined
  readonly obligations?: JsonText | undefined
  readonly context?: JsonText | undefined
  /** Undefined: the policy did not say. */
  readonly maxAgeMs: number | undefined
}

/** Reasons that Verdict gives itself when a policy's result is not a decision. */
export const resultReasons = {
  /** The entrypoint has no value for this input. */
  undefined: 'undefined_decision',
  /** The value is neither a boolean nor an object with a boolean `decision`, `allow` or `allowed`. */
  notBoolean: 'not_a_boolean_decision',
  /** The object has several of these, and they differ. */
  contradictory: 'contradictory_decision',
} as const

const denied = (reason: string): ReadResult => ({ allowed: false, reasons: JSON.stringify([reason]), maxAgeMs: undefined })
const allow: ReadResult = { allowed: true, maxAgeMs: undefined }
const deny: ReadResult = { allowed: false, maxAgeMs: undefined }

/** Longest reuse that a policy can declare: a day. */
const maxDeclaredAgeMs = 86_400_000

/** Results come again: policies have few short ones. */
const known = new Map<JsonText, ReadResult>()
const maxKnown = 1_000
const maxKnownLength = 512
let last: JsonText = ''
let lastRead: ReadResult = { allowed: false, maxAgeMs: undefined }

/** @param result the entrypoint's value as JSON text; undefined where it has none */
export function readResult(result: JsonText | undefined): ReadResult {
  if (result === undefined) return denied(resultReasons.undefined)
  // Comparing takes less than hashing a text that was just made.
  if (result === last) return lastRead
  const before = known.get(result)
  const read = before ?? judge(result)
  if (result.length > maxKnownLength) return read
  if (before === undefined) {
    if (known.size >= maxKnown) known.clear()
    known.set(result, read)
  }
  last = result
  lastRead = read
  return read
}

/** Members that say yes or no: ours, OPA's custom, opa-envoy-plugin's. Those that are there must agree. */
const decisionNames = ['decision', 'allow', 'allowed']

function judge(result: JsonText): ReadResult {
  if (result === 'true') return allow
  if (result === 'false') return deny
  if (!result.startsWith('{')) return denied(resultReasons.notBoolean)
  const members = membersOf(result)
  const given = decisionNames.filter((name) => members.has(name)).map((name) => members.get(name))
  const decision = given[0]
  if (decision !== 'true' && decision !== 'false') return denied(resultReasons.notBoolean)
  if (given.some((other) => other !== decision)) return denied(resultReasons.contradictory)
  return {
    allowed: decision === 'true',
    reasons: members.get('reasons'),
    obligations: members.get('obligations'),
    context: members.get('context'),
    maxAgeMs: readMaxAgeMs(members.get('cache')),
  }
}

/** What is there and no time is none: then nothing is given again. */
function readMaxAgeMs(cache: JsonText | undefined): number | undefined {
  if (cache === undefined) return undefined
  if (!cache.startsWith('{')) return 0
  const text = membersOf(cache).get('max_age_ms')
  if (text === undefined || !/^[0-9]{1,15}$/.test(text)) return 0
  return Math.min(Number(text), maxDeclaredAgeMs)
}
