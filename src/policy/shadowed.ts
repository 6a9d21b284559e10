// The outermost decider: behind an answer that is given already, a candidate answers the same question, and what it would have
// said otherwise is counted. Its cost is bounded: it gets a share of the serving thread's time, and what does not fit is passed over.
import type { RecordedDecider } from '../decision/decider.ts'
import type { Decision, RecordedDecision } from '../decision/decision.ts'
import type { DecisionRequest } from '../decision/request.ts'
import { askOutcome } from './ask-outcome.ts'
import type { PolicyInstance } from './policy-instance.ts'
import { withTrusted } from './trusted-input.ts'
import { CallAnswers } from './varying-calls.ts'

/** A decision that the candidate would have given otherwise. */
export interface ShadowDifference {
  /** ID of its record. */
  readonly id: string
  readonly entrypoint: string
  readonly active: Decision['outcome']
  readonly candidate: Decision['outcome']
}

export interface ShadowReport {
  readonly digest: string
  readonly sinceMs: number
  readonly compared: number
  /** Answers for which there was no time, or nothing to compare. */
  readonly passedOver: number
  /** By `active → candidate`. */
  readonly differences: Readonly<Record<string, number>>
  /** The latest of them. */
  readonly examples: readonly ShadowDifference[]
}

const maxExamples = 100
/** Questions that may wait for their turn. */
const maxWaiting = 256
/** Share of time that candidates get. */
const share = 0.05
/** What is saved up when nothing is asked. Milliseconds. */
const maxSavedMs = 100

export class Shadow {
  readonly digest: string
  readonly #instance: PolicyInstance
  readonly #trustedKey: string
  readonly #sinceMs: number
  readonly #differences: Record<string, number> = {}
  readonly #examples: ShadowDifference[] = []
  #waiting: (readonly [DecisionRequest, RecordedDecision])[] = []
  #compared = 0
  #passedOver = 0
  #savedMs = maxSavedMs
  #lastMs = performance.now()

  constructor(digest: string, instance: PolicyInstance, trustedKey: string, nowMs: number) {
    this.digest = digest
    this.#instance = instance
    this.#trustedKey = trustedKey
    this.#sinceMs = nowMs
  }

  observe(request: DecisionRequest, decision: RecordedDecision): void {
    if (this.#waiting.length >= maxWaiting) this.#passedOver++
    else if (this.#waiting.push([request, decision]) === 1) setImmediate(() => this.#compareWaiting())
  }

  report(): ShadowReport {
    return {
      digest: this.digest,
      sinceMs: this.#sinceMs,
      compared: this.#compared,
      passedOver: this.#passedOver,
      differences: { ...this.#differences },
      examples: [...this.#examples].reverse(),
    }
  }

  #compareWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const now = performance.now()
    this.#savedMs = Math.min(maxSavedMs, this.#savedMs + (now - this.#lastMs) * share)
    this.#lastMs = now
    for (const [request, decision] of waiting) {
      if (this.#savedMs <= 0) {
        this.#passedOver++
        continue
      }
      const began = performance.now()
      this.#compare(request, decision)
      this.#savedMs -= performance.now() - began
    }
  }

  #compare(request: DecisionRequest, { id, policy, outcome, trusted, nd }: RecordedDecision): void {
    const path = policy?.entrypoint ?? ''
    const input = withTrusted(request.input, this.#trustedKey, trusted)
    // Both see the same world; where the candidate asks for more of it, nothing follows.
    const answers = new CallAnswers(nd)
    const { outcome: candidate } = askOutcome(this.#instance, path, input, request.timeMs, answers)
    if (answers.isMissing) {
      this.#passedOver++
      return
    }
    this.#compared++
    if (candidate === outcome) return
    const kind = `${outcome} → ${candidate}`
    this.#differences[kind] = (this.#differences[kind] ?? 0) + 1
    this.#examples.push({ id, entrypoint: path, active: outcome, candidate })
    if (this.#examples.length > maxExamples) this.#examples.shift()
  }
}

/** By name of the bundle. */
export type Shadows = Map<string, Shadow>

export function shadowed(inner: RecordedDecider, shadows: Shadows): RecordedDecider {
  return {
    decide(request) {
      const decision = inner.decide(request)
      if (shadows.size === 0) return decision
      if (decision instanceof Promise) return decision.then((decided) => observe(request, decided))
      return observe(request, decision)
    },
  }

  function observe(request: DecisionRequest, decision: RecordedDecision): RecordedDecision {
    const { policy } = decision
    // A question that the policy was not asked has nothing to compare.
    if (policy !== undefined && request.fault === undefined && request.filter === undefined)
      shadows.get(policy.bundle)?.observe(request, decision)
    return decision
  }
}
