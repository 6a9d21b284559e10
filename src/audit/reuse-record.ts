// One line of JSON for the uses of one answer by whoever keeps it: which record it was, how often, and between when.
import { toJsonLine } from '../decision/json-text.ts'
import type { Caller } from '../decision/request.ts'

/** @returns the line, with its line break */
export function reuseLine(
  { id, issuer, address }: Caller,
  reuse: { readonly id: string; readonly count: number; readonly first: number; readonly last: number },
  { shard, seq, timeMs }: { readonly shard: string; readonly seq: number; readonly timeMs: number },
): string {
  const { id: of, count, first, last } = reuse
  const iso = (ms: number) => new Date(ms).toISOString()
  return `${toJsonLine({ kind: 'reuse', of, seq, shard, time: iso(timeMs), caller: { id, issuer, address }, count, first: iso(first), last: iso(last) })}\n`
}
