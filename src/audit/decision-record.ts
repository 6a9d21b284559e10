// One line of JSON for one answered question. The line is put together from the text of the question and of the
// policy's result, so numbers keep their digits; it never holds a line break or a control character.
import { createHash } from 'node:crypto'
import { constantText } from '../decision/constant-text.ts'
import type { RecordedDecision } from '../decision/decision.ts'
import { quoted, toSingleLine } from '../decision/json-text.ts'
import type { LogRules } from '../decision/log-rules.ts'
import type { Caller, DecisionRequest, JsonText } from '../decision/request.ts'
import { watchClock } from './clock-steps.ts'
import { type MaskRule, maskJson, type ReadyRule, readyRule, rulesThatMayLead, toNull, withTwins } from './mask.ts'

export interface RecordOptions {
  /** Names this service among others that write to one place. */
  readonly shard: string
  /** JSON pointers (RFC 6901) into the record whose values are replaced by null. */
  readonly mask: readonly string[]
  /** Further replacements, by JSON pointers: pseudonyms and encrypted values. Default: none. */
  readonly replace?: readonly MaskRule[] | undefined
  /** What the policy's own bundle says of a record; default: nothing. */
  readonly rulesOf?: ((request: DecisionRequest, decision: RecordedDecision) => LogRules | undefined) | undefined
  /** An input with more bytes than this is recorded by its hash. */
  readonly maxInputBytes: number
  /** Constant facts about this service. */
  readonly labels: Readonly<Record<string, string>>
}

/** What is left out of a record of which only that there was a decision is kept. */
const dropped = ['/subject', '/action', '/resource', '/input', '/trusted', '/nd', '/reasons', '/obligations']

export type RecordWriter = (request: DecisionRequest, decision: RecordedDecision, seq: number, durationUs: number) => string

/** @returns a function that gives the line, with its line break */
export function createRecordWriter(options: RecordOptions): RecordWriter {
  const shard = JSON.stringify(options.shard)
  const labels = JSON.stringify(options.labels)
  const ofAll = [...options.mask.map((pointer) => ({ pointer, replace: toNull })), ...(options.replace ?? [])].flatMap(twinsOf)
  // Then the rest of a record need not be looked through for what they name.
  const areWithinInput = ofAll.every(({ path }) => path.length > 1 && path[0] === 'input')
  const clockStep = watchClock()
  let checkedMs = 0
  return (request, decision, seq, durationUs) => {
    const { policy, error, trusted } = decision
    const input = recordedText(request.input, options.maxInputBytes)
    const nd = recordedText(decision.nd, options.maxInputBytes)
    let line = `{"id":"${decision.id}","seq":${seq},"shard":${shard},"time":"${isoTime(request.timeMs)}","door":"${request.door}"`
    // Once for all records of a millisecond.
    if (request.timeMs !== checkedMs) {
      checkedMs = request.timeMs
      const step = clockStep()
      if (step !== undefined) line += `,"clock_step_ms":${step}`
    }
    line += `,"correlation_id":${correlationText(request.correlationId)}`
    if (request.trace !== undefined) line += `,"trace_id":"${request.trace.traceId}","span_id":"${request.trace.spanId}"`
    line += `,"caller":${callerText(request.caller)}`
    line += member('subject', request.subject) + member('action', request.action) + member('resource', request.resource)
    line += member('input', input.text) + member('trusted', trusted) + member('nd', nd.text)
    if (policy !== undefined) line += `,"policy":${constantText(policy)}`
    line += `,"decision":${decision.outcome === 'allow'},"outcome":"${decision.outcome}"`
    if (error !== undefined) line += `,"error":{"code":"${error.code}","message":${toSingleLine(JSON.stringify(error.message))}}`
    line += member('reasons', decision.reasons) + member('obligations', decision.obligations)
    line += `,"cached":${decision.cached},"steps":${decision.steps},"duration_us":${durationUs},"labels":${labels}`
    const own = options.rulesOf?.(request, decision)
    const searched = own === undefined && areWithinInput ? (input.text ?? '') : line
    const rules = rulesThatMayLead(searched, own === undefined ? ofAll : [...ofAll, ...rulesOf(own)])
    if (own?.isDropped === true) line += ',"dropped":true'
    let masked: readonly string[] = []
    if (rules.length > 0) {
      const { json, applied } = maskJson(`${line}}`, rules)
      if (applied.length > 0) {
        line = toSingleLine(json).slice(0, -1)
        masked = pointersOf(rules, applied)
      }
    }
    const isTruncated = input.truncated || nd.truncated
    line += `,"masked":${JSON.stringify(masked)},"replayable":${isTruncated ? '"truncated"' : masked.length > 0 ? '"masked"' : 'true'}}`
    return `${line}\n`
  }
}

/** Those of access tokens are new with every request. */
function callerText(caller: Caller): string {
  if (caller.expiresAtMs === undefined) return constantText(caller)
  const { authenticated, id, issuer, clientId, scopes, address } = caller
  return toSingleLine(JSON.stringify({ authenticated, id, issuer, client_id: clientId, scopes, address }))
}

let lastMs = 0
let lastText = new Date(0).toISOString()

/** Many records share their millisecond. */
function isoTime(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms
    lastText = new Date(ms).toISOString()
  }
  return lastText
}

let lastId = ''
let lastIdText = '""'

/** The questions of a batch share their ID. */
function correlationText(id: string): string {
  if (id !== lastId) {
    lastIdText = quoted(id)
    lastId = id
  }
  return lastIdText
}

function member(key: string, text: JsonText | undefined): string {
  return text === undefined ? '' : `,"${key}":${text}`
}

function recordedText(input: JsonText | undefined, maxBytes: number): { text: JsonText | undefined; truncated: boolean } {
  if (input === undefined || input.length * 3 <= maxBytes) return { text: input, truncated: false }
  const bytes = Buffer.byteLength(input)
  if (bytes <= maxBytes) return { text: input, truncated: false }
  const sha256 = createHash('sha256').update(input).digest('hex')
  return { text: `{"truncated":true,"bytes":${bytes},"sha256":"${sha256}"}`, truncated: true }
}

/** A rule at one place of a record, for the pointer that somebody gave. */
interface RecordRule extends ReadyRule {
  readonly given: string
}

function twinsOf({ pointer, replace }: MaskRule): RecordRule[] {
  return withTwins(pointer).map((one) => ({ ...readyRule({ pointer: one, replace }), given: pointer }))
}

function rulesOf({ replace, isDropped }: LogRules): RecordRule[] {
  if (isDropped) return droppedRules
  return [...replace].flatMap(([pointer, value]) => twinsOf({ pointer, replace: () => value }))
}

const droppedRules: RecordRule[] = dropped.map((pointer) => ({ ...readyRule({ pointer, replace: toNull }), given: pointer }))

/** As they were given, each once. */
function pointersOf(rules: readonly RecordRule[], applied: readonly string[]): string[] {
  const there = new Set(applied)
  return [...new Set(rules.filter(({ pointer }) => there.has(pointer)).map(({ given }) => given))]
}
