// W3C Trace Context: the caller's trace from `traceparent` and `tracestate`, a span of our own in it, and what goes on to others.
// @see https://www.w3.org/TR/trace-context/ §3.2 (traceparent), §2.3.2 (versions)
import { randomFillSync } from 'node:crypto'
import type { TraceIds } from '../decision/request.ts'

const traceparentPattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const zeroTrace = '0'.repeat(32)
const zeroSpan = '0'.repeat(16)

/**
 * The trace of a request.
 * @param fields by name in lower case, as Node.js gives them: those that came twice are joined, and are then no `traceparent`
 */
export function traceOfFields({ traceparent, tracestate }: Readonly<Record<string, unknown>>): TraceIds | undefined {
  return childSpan(traceparent as string | undefined, tracestate as string | undefined)
}

/**
 * @param traceparent the header, or undefined
 * @param tracestate the header, of several the values in their order with commas between; or undefined
 * @returns the caller's trace with a new span; undefined when there is no header, or none that is valid
 */
export function childSpan(traceparent: string | undefined, tracestate?: string): TraceIds | undefined {
  if (traceparent === undefined || traceparent.length > 512) return undefined
  const [, version, traceId, parentId, flags, rest] = traceparentPattern.exec(traceparent.trim()) ?? []
  if (version === undefined || traceId === undefined || parentId === undefined || version === 'ff') return undefined
  // Version 00 has exactly four fields; a later one may have more.
  if (version === '00' && rest !== undefined) return undefined
  if (traceId === zeroTrace || parentId === zeroSpan) return undefined
  return { traceId, parentId, spanId: randomSpanId(), isSampled: (Number.parseInt(flags as string, 16) & 1) === 1, state: tracestate }
}

/** What a request carries that is sent on behalf of a decision; one without a trace begins one. */
export function outgoingFields(trace: TraceIds | undefined): { readonly traceparent: string; readonly tracestate?: string } {
  if (trace === undefined) return { traceparent: `00-${randomSpanId()}${randomSpanId()}-${randomSpanId()}-00` }
  const { traceId, spanId, isSampled, state } = trace
  const traceparent = `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
  const tracestate = state === undefined ? undefined : validState(state)
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate }
}

const maxStateLength = 8_192
const maxStateMembers = 32
/** A key, perhaps of a tenant at a vendor, and a value of printable characters that ends in none that is a space. §3.3.1 */
const stateMember =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** @returns undefined for what cannot be understood, which is passed on in no part */
function validState(state: string): string | undefined {
  if (state.length > maxStateLength) return undefined
  const members = state
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter(Boolean)
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf('='))))
  if (members.length === 0 || members.length > maxStateMembers || keys.size < members.length) return undefined
  return members.every((member) => stateMember.test(member)) ? members.join(',') : undefined
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
