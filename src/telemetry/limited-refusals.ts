// Refusals in the service's log, at a bounded rate: whoever can be refused must not be able to fill the disk. How many were left out
// is in the next line of their kind.

/** Lines of one code a second, in the long run, and at once. */
const perSecond = 10
const burst = 50
/** Codes are ours, so there are few. */
const maxCodes = 200

interface Bucket {
  tokens: number
  atMs: number
  suppressed: number
}

/**
 * @returns what to write: the facts, with `suppressed` where lines were left out before; undefined: nothing
 */
export function limitRefusals(now: () => number = Date.now): <T extends { readonly code?: unknown }>(facts: T) => T | undefined {
  const buckets = new Map<string, Bucket>()
  return (facts) => {
    const code = String(facts.code).slice(0, 64)
    const nowMs = now()
    let bucket = buckets.get(code)
    if (bucket === undefined) {
      if (buckets.size >= maxCodes) return undefined
      bucket = { tokens: burst, atMs: nowMs, suppressed: 0 }
      buckets.set(code, bucket)
    }
    bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, nowMs - bucket.atMs) / 1_000) * perSecond)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) {
      bucket.suppressed++
      return undefined
    }
    bucket.tokens--
    const { suppressed } = bucket
    bucket.suppressed = 0
    return suppressed === 0 ? facts : { ...facts, suppressed }
  }
}
