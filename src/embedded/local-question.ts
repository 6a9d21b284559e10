// From a question of the client's kind to one for the core, where this process may answer it, and from the decision to an answer as the
// service words it.
import { randomUUID } from 'node:crypto'
import type { Answer, CallOptions, Question } from '../client/index.ts'
import type { RecordedDecider } from '../decision/decider.ts'
import type { RecordedDecision } from '../decision/decision.ts'
import type { JsonText } from '../decision/request.ts'
import { parseStrictJson } from '../decision/strict-json.ts'
import type { ActiveBundles } from '../policy/active-bundles.ts'
import { childSpan } from '../telemetry/trace-context.ts'
import { correlationId } from '../transport/correlation.ts'
import { ownKeys } from '../transport/decide-answer.ts'
import { splitPolicy, toQuestion } from '../transport/decide-request.ts'
import { isPlainQuestion } from '../transport/plain-question.ts'
import type { BundleCopy } from './bundle-copies.ts'
import { isOrdinary } from './ordinary.ts'
import type { ServiceFacts, ServiceRules } from './service-facts.ts'

export interface AskerOptions {
  readonly bundles: ActiveBundles
  readonly copies: ReadonlyMap<string, BundleCopy>
  readonly facts: ServiceFacts
  /** How long a bundle that the service has replaced goes on answering. Milliseconds. */
  readonly boundMs: number
  readonly isRecording: () => boolean
  readonly deciderFor: (rules: ServiceRules) => RecordedDecider
}

/** Longer texts are the service's, which has its own bounds for them. Characters. */
const maxInputLength = 65_536
/** As strict as a service can be: what does not pass, the service judges. */
const limits = { maxDepth: 32, maxMembers: 10_000, forbidPrototypeKeys: true, maxBatchSize: 1, identifiers: 'ascii' } as const
/** Anything but printable ASCII, and escapes. */
const unusual = /[^\x20-\x5b\x5d-\x7e]/
const shortLength = 1_024

/** Only the shape is judged by them. */
const noTexts = { subject: '', action: '', resource: '', context: undefined }

/** @returns gives an answer; undefined: the service has to */
export function createAsker({ bundles, copies, facts, boundMs, isRecording, deciderFor }: AskerOptions) {
  return (question: Question, call: CallOptions = {}): Answer | undefined => {
    if (call.token !== undefined || call.signal?.aborted === true || !isRecording()) return undefined
    const now = performance.now()
    const caller = facts.callerAt(now)
    const { rules } = facts
    if (caller === undefined || rules === undefined) return undefined
    const [named, path] = call.policy === undefined ? [] : splitPolicy(call.policy)
    const name = named ?? facts.onlyBundle
    const bundle = name === undefined ? undefined : bundles.get(name)
    if (name === undefined || bundle === undefined || !isCurrent(name, bundle.epoch, now) || bundle.epoch < (call.minEpoch ?? 0))
      return undefined
    const entrypoint = path ?? bundle.defaultEntrypoint?.identity.entrypoint
    if (entrypoint === undefined || copies.get(name)?.isLocal(entrypoint, rules) !== true) return undefined
    const input = inputOf(question)
    if (input === undefined || facts.mayBeIsolated(question.subject.id)) return undefined
    const decided = deciderFor(rules).decide({
      door: 'embedded',
      input,
      // Whose they are is known already, and the record has them from the input.
      subject: undefined,
      action: undefined,
      resource: undefined,
      correlationId: call.correlationId === undefined ? randomUUID() : correlationId(call.correlationId),
      trace: childSpan(call.traceparent, call.tracestate),
      caller,
      timeMs: Date.now(),
      bundle: name,
      entrypoint,
      minEpoch: call.minEpoch,
    })
    // Whatever leaves the thread was found out above.
    return decided instanceof Promise ? undefined : toAnswer(decided)
  }

  function isCurrent(name: string, epoch: number, now: number): boolean {
    const announced = facts.announced(name)
    return announced !== undefined && (epoch >= announced.epoch || now - announced.at <= boundMs)
  }
}

/** @returns undefined for what the service may refuse */
function inputOf({ subject, action, resource, context }: Question): JsonText | undefined {
  const asked = { subject, action, resource, context }
  const text = JSON.stringify(asked)
  if (text.length <= shortLength && isOrdinary(asked, limits.maxDepth) && !unusual.test(text))
    return isPlainQuestion(asked) ? text : undefined
  if (text.length > maxInputLength || toQuestion(asked, noTexts, limits).fault !== undefined) return undefined
  try {
    return parseStrictJson(text, limits).text
  } catch {
    return undefined
  }
}

/** As src/transport/decide-answer.ts has it as a text. */
function toAnswer(decided: RecordedDecision): Answer {
  const { id, outcome, policy, maxAgeMs } = decided
  const [decision, context, cache] = [outcome === 'allow', contextOf(decided), { max_age_ms: maxAgeMs }]
  return policy === undefined ? { decision, id, context, cache } : { decision, id, context, policy, cache }
}

function contextOf({ context, reasons, obligations, error }: RecordedDecision): Answer['context'] {
  const said = (context?.startsWith('{') === true ? JSON.parse(context) : {}) as Record<string, unknown>
  if (context !== undefined) for (const key of ownKeys) delete said[key]
  if (reasons !== undefined) said['reasons'] = JSON.parse(reasons) as unknown
  if (obligations !== undefined) said['obligations'] = JSON.parse(obligations) as unknown
  if (error !== undefined) said['error'] = { code: error.code, message: error.message }
  return said
}
