// Lines of JSON by which a log speaks of itself: what a crash left of a line, and was cut; segments that are kept no longer.
import { toJsonLine } from '../decision/json-text.ts'
import type { Recovered } from './log-recovery.ts'
import type { Expired } from './retention.ts'

export interface Stamp {
  readonly shard: string
  readonly seq: number
  readonly timeMs: number
}

/** @returns the line, with its line break */
export function recoveredLine({ file, bytes }: Recovered, stamp: Stamp): string {
  return ownLine('recovered', stamp, { file, cut_bytes: bytes })
}

/** @returns the line, with its line break */
export function retiredLine({ before, entries, files, bytes }: Expired, stamp: Stamp): string {
  return ownLine('retired', stamp, { before, entries, files, bytes })
}

const retiredHead = Buffer.from('{"kind":"retired",')

/** How many entries a line says are kept no longer; undefined: it says nothing of that. */
export function retiredEntriesOf(bytes: Buffer, from: number, to: number): number | undefined {
  if (bytes.compare(retiredHead, 0, retiredHead.length, from, Math.min(to, from + retiredHead.length)) !== 0) return undefined
  try {
    const { entries } = JSON.parse(bytes.toString('utf8', from, to)) as { readonly entries?: unknown }
    return Number.isSafeInteger(entries) ? (entries as number) : undefined
  } catch {
    // Not a line of ours any longer.
    return undefined
  }
}

function ownLine(kind: string, { shard, seq, timeMs }: Stamp, said: Readonly<Record<string, unknown>>): string {
  return `${toJsonLine({ kind, seq, shard, time: new Date(timeMs).toISOString(), ...said })}\n`
}
