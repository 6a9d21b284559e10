// A budget of steps for each caller, so that one cannot take the thread from the rest: a bucket that fills by so many
// steps a second. A caller whose bucket is empty is refused before its policy runs.
//
// Callers without an identity on the same machine share an address and are not told apart: they have no budget.
import { PdpError } from '../errors.ts'
import type { Decider } from './decider.ts'
import type { Decision } from './decision.ts'
import type { Caller, DecisionRequest } from './request.ts'

export interface StepBudgetOptions {
  /** Steps that a caller may use in a second; also the most that it can save up. */
  readonly stepsPerSecond: number
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
}

interface Bucket {
  /** Below zero after an evaluation that took more than was left. */
  steps: number
  filledAt: number
}

/** Callers kept at most; beyond, those whose buckets are full are forgotten. */
const maxCallers = 10_000

export function withStepBudget(inner: Decider, { stepsPerSecond, now }: StepBudgetOptions): Decider {
  const buckets = new Map<string, Bucket>()
  return {
    /** @throws PdpError ERR_OVERLOADED when the caller has used its steps up */
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const key = keyOf(request.caller)
      if (key === undefined) return inner.decide(request)
      const bucket = bucketOf(key)
      if (bucket.steps <= 0) {
        throw new PdpError('ERR_OVERLOADED', `this caller has used up its \`${stepsPerSecond}\` steps a second: ask again later`)
      }
      const decided = inner.decide(request)
      if (!(decided instanceof Promise)) return pay(bucket, decided)
      return decided.then((decision) => pay(bucket, decision))
    },
  }

  function bucketOf(key: string): Bucket {
    const time = now()
    let bucket = buckets.get(key)
    if (bucket === undefined) {
      if (buckets.size >= maxCallers) forgetFull(time)
      bucket = { steps: stepsPerSecond, filledAt: time }
      buckets.set(key, bucket)
    }
    fill(bucket, time)
    return bucket
  }

  function fill(bucket: Bucket, time: number): void {
    bucket.steps = Math.min(stepsPerSecond, bucket.steps + ((time - bucket.filledAt) / 1_000) * stepsPerSecond)
    bucket.filledAt = time
  }

  function forgetFull(time: number): void {
    for (const [key, bucket] of buckets) {
      fill(bucket, time)
      if (bucket.steps >= stepsPerSecond) buckets.delete(key)
    }
  }
}

function pay(bucket: Bucket, decision: Decision): Decision {
  bucket.steps -= decision.steps
  return decision
}

/** Identity, or address where there is none. */
function keyOf({ id, address }: Caller): string | undefined {
  if (id !== undefined) return `id ${id}`
  if (address === undefined || address === '::1' || /^(?:::ffff:)?127\./.test(address)) return undefined
  return `address ${address}`
}
