// Records of a log that somebody looks for: segments are chosen by their time, parts of them by an index of their IDs (id-index.ts), lines
// by a text that must be in them, and what is left is parsed. Newest first. Reads only.
import { join } from 'node:path'
import type { PolicyIdentity } from '../decision/decision.ts'
import { Finder } from './finder.ts'
import { rangesWith, type WantedIds } from './id-index.ts'
import { eachLine, listSegments, segmentTime } from './log-files.ts'

export interface LogFilter {
  /** Milliseconds since 1970, included. */
  readonly fromMs?: number | undefined
  /** Not included. */
  readonly toMs?: number | undefined
  readonly id?: string | undefined
  /** ID of who asked. */
  readonly caller?: string | undefined
  /** `type:id`, or the ID alone. */
  readonly subject?: string | undefined
  readonly resource?: string | undefined
  readonly action?: string | undefined
  readonly outcome?: 'allow' | 'deny' | 'error' | undefined
  /** One of the reasons. */
  readonly reason?: string | undefined
  /** Of an error. */
  readonly code?: string | undefined
  readonly correlation?: string | undefined
  readonly trace?: string | undefined
  /** `bundle`, or `bundle:entry/point`. */
  readonly policy?: string | undefined
}

interface Named {
  readonly type?: unknown
  readonly id?: unknown
  readonly name?: unknown
}

/** What of a record filters and summaries look at; anything may be missing. */
export interface LogRecord {
  readonly id?: string
  readonly seq?: number
  readonly kind?: string
  readonly time?: string
  readonly door?: string
  readonly correlation_id?: string
  readonly trace_id?: string
  readonly caller?: { readonly id?: string; readonly address?: string } | null
  readonly subject?: Named | null
  readonly action?: Named | null
  readonly resource?: Named | null
  readonly policy?: PolicyIdentity
  readonly outcome?: 'allow' | 'deny' | 'error'
  readonly error?: { readonly code: string; readonly message: string }
  readonly reasons?: unknown
  readonly cached?: boolean
  readonly steps?: number
  readonly duration_us?: number
}

export interface FoundRecord {
  /** As it lies in the log. */
  readonly line: string
  readonly record: LogRecord
}

/** By so much later than its decision a record may be written, where it was decided elsewhere. Milliseconds. */
const maxDelayMs = 3_600_000

/** @returns newest first, as they were written */
export function* queryLog(folder: string, filter: LogFilter): Generator<FoundRecord> {
  const files = listSegments(folder)
  const needle = needleOf(filter)
  const ids = idsOf(filter)
  for (let i = files.length - 1; i >= 0; i--) {
    const file = files[i] as string
    const [begins, ends] = [segmentTime(file), files[i + 1] === undefined ? Number.POSITIVE_INFINITY : segmentTime(files[i + 1] as string)]
    if (filter.toMs !== undefined && begins > filter.toMs + maxDelayMs) continue
    if (filter.fromMs !== undefined && ends < filter.fromMs) return
    const found: FoundRecord[] = []
    const look = (limit: number | undefined, from: number | undefined) => {
      // Whoever asks may write some characters of a name by escapes.
      const finders = needle && [needle, Buffer.from('\\u'), Buffer.from('\\/')].map((text) => new Finder(text))
      const take = (bytes: Buffer, start: number, end: number) => {
        const mayMatch = finders === undefined || finders.some((one) => one.isIn(bytes, start, end))
        const line = mayMatch ? bytes.toString('utf8', start, end) : ''
        const record = mayMatch ? parse(line) : undefined
        if (record !== undefined && matches(record, filter)) found.push({ line, record })
      }
      eachLine(join(folder, file), take, limit, from)
    }
    // The newest is being written.
    const ranges = ids.length === 0 || i === files.length - 1 ? undefined : rangesWith(folder, file, ids)
    try {
      if (ranges === undefined) look(undefined, undefined)
      else for (const [from, to] of ranges) look(to, from)
    } catch (error) {
      // A service that keeps records for a time has removed it just now.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    yield* found.reverse()
  }
}

/** A text that every record has which matches: the one that is likely to be rare. */
function needleOf({ id, trace, correlation, subject, resource, caller, reason, code, action, outcome }: LogFilter): Buffer | undefined {
  const text = (value: string | undefined) => (value === undefined ? undefined : JSON.stringify(value))
  const idOf = (named: string | undefined) => (named === undefined ? undefined : text(named.slice(named.indexOf(':') + 1))?.slice(1))
  const needle =
    text(id) ??
    text(trace) ??
    text(correlation) ??
    idOf(subject) ??
    idOf(resource) ??
    text(caller) ??
    text(reason) ??
    text(code) ??
    text(action) ??
    (outcome === undefined ? undefined : `"outcome":"${outcome}"`)
  return needle === undefined ? undefined : Buffer.from(needle)
}

/** The IDs that every record has which matches. */
function idsOf({ id, trace, correlation, subject, resource, caller }: LogFilter): WantedIds {
  const text = (value: string) => JSON.stringify(value).slice(1, -1)
  const single = [id, trace, correlation, caller].flatMap((value) => (value === undefined ? [] : [[text(value)]]))
  const named = [subject, resource].flatMap((value) =>
    value === undefined ? [] : [[text(value), text(value.slice(value.indexOf(':') + 1))]],
  )
  return [...single, ...named]
}

function parse(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord
  } catch {
    return undefined
  }
}

export function matches(record: LogRecord, filter: LogFilter): boolean {
  const time = Date.parse(record.time ?? '')
  if (filter.fromMs !== undefined && !(time >= filter.fromMs)) return false
  if (filter.toMs !== undefined && !(time < filter.toMs)) return false
  if (filter.id !== undefined && record.id !== filter.id) return false
  if (filter.caller !== undefined && record.caller?.id !== filter.caller) return false
  if (filter.correlation !== undefined && record.correlation_id !== filter.correlation) return false
  if (filter.trace !== undefined && record.trace_id !== filter.trace) return false
  if (filter.outcome !== undefined && record.outcome !== filter.outcome) return false
  if (filter.code !== undefined && record.error?.code !== filter.code) return false
  if (filter.action !== undefined && record.action?.name !== filter.action) return false
  if (filter.reason !== undefined && !(Array.isArray(record.reasons) && record.reasons.includes(filter.reason))) return false
  if (filter.subject !== undefined && !isNamed(record.subject, filter.subject)) return false
  if (filter.resource !== undefined && !isNamed(record.resource, filter.resource)) return false
  if (filter.policy === undefined) return true
  const { bundle, entrypoint } = record.policy ?? {}
  return filter.policy === bundle || filter.policy === `${bundle}:${entrypoint}`
}

function isNamed(named: Named | null | undefined, wanted: string): boolean {
  if (named === undefined || named === null) return false
  return named.id === wanted || `${String(named.type)}:${String(named.id)}` === wanted
}
