// One line of JSON for what a crash left of a line, and was cut: whoever reads the log learns that something was under way.
import { toJsonLine } from '../decision/json-text.ts'
import type { Recovered } from './log-writer.ts'

/** @returns the line, with its line break */
export function recoveredLine(
  { file, bytes }: Recovered,
  { shard, seq, timeMs }: { readonly shard: string; readonly seq: number; readonly timeMs: number },
): string {
  return `${toJsonLine({ kind: 'recovered', seq, shard, time: new Date(timeMs).toISOString(), file, cut_bytes: bytes })}\n`
}
