// W3C Trace Context: the caller's trace from `traceparent`, and a span of our own in it.
// @see https://www.w3.org/TR/trace-context/ §3.2 (traceparent), §2.3.2 (versions)
import { randomFillSync } from 'node:crypto'
import type { TraceIds } from '../decision/request.ts'

const traceparentPattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const zeroTrace = '0'.repeat(32)
const zeroSpan = '0'.repeat(16)

/**
 * @param traceparent the header, or undefined
 * @returns the caller's trace with a new span; undefined when there is no header, or none that is valid
 */
export function childSpan(traceparent: string | undefined): TraceIds | undefined {
  if (traceparent === undefined || traceparent.length > 512) return undefined
  const [, version, traceId, parentId, flags, rest] = traceparentPattern.exec(traceparent.trim()) ?? []
  if (version === undefined || traceId === undefined || parentId === undefined || version === 'ff') return undefined
  // Version 00 has exactly four fields; a later one may have more.
  if (version === '00' && rest !== undefined) return undefined
  if (traceId === zeroTrace || parentId === zeroSpan) return undefined
  return { traceId, parentId, spanId: randomSpanId(), isSampled: (Number.parseInt(flags as string, 16) & 1) === 1 }
}

const pool = Buffer.alloc(8 * 256)
let used = pool.length

function randomSpanId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const id = pool.toString('hex', used, used + 8)
  used += 8
  return id === zeroSpan ? randomSpanId() : id
}
