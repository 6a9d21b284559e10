// Refusals in the service's log, at a bounded rate: whoever can be refused must not be able to fill the disk. How many were left out
// is in the next line of their kind.

/** Lines of one code a second, in the long run, and at once. */
const perSecond = 10
const burst = 50
interface Bucket {
  tokens: number
  atMs: number
  suppressed: number
}

/**
 * Decides about lines with a `code`, as refusals have them; all others are written.
 * @returns what to write: the facts, with `suppressed` where lines were left out before; undefined: nothing
 */
export function limitRefusals(now: () => number = Date.now): (facts: unknown) => unknown {
  const buckets = new Map<string, Bucket>()
  return (facts) => {
    const code = codeOf(facts)
    if (code === undefined) return facts
    const nowMs = now()
    let bucket = buckets.get(code)
    if (bucket === undefined) {
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
    return suppressed === 0 ? facts : { ...(facts as object), suppressed }
  }
}

/** Codes are those of a closed list, so there are few. */
function codeOf(facts: unknown): string | undefined {
  const { code } = (typeof facts === 'object' && facts !== null ? facts : {}) as { readonly code?: unknown }
  return typeof code === 'string' && code.startsWith('ERR_') ? code : undefined
}
