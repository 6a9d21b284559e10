// verdict log query, tail and stats: records of a log on disk, found, followed, counted.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { listSegments, nextLines, type Place } from '../audit/log-files.ts'
import { type FoundRecord, type LogFilter, type LogRecord, matches, queryLog } from '../audit/query-log.ts'
import { PdpError } from '../errors.ts'
import { paint, print, printJson } from './output.ts'

export interface FilterOptions {
  readonly from?: string
  readonly to?: string
  readonly id?: string
  readonly caller?: string
  readonly subject?: string
  readonly resource?: string
  readonly action?: string
  readonly outcome?: string
  readonly reason?: string
  readonly code?: string
  readonly correlation?: string
  readonly trace?: string
  readonly policy?: string
  readonly json?: boolean
}

const outcomes = ['allow', 'deny', 'error'] as const

/** @throws PdpError ERR_USAGE */
export function filterOf({ from, to, outcome, ...rest }: FilterOptions): LogFilter {
  if (outcome !== undefined && !outcomes.includes(outcome as 'allow')) throw new PdpError('ERR_USAGE', '--outcome is allow, deny or error')
  const { json: _, ...texts } = rest
  return { ...texts, fromMs: timeOf(from, '--from'), toMs: timeOf(to, '--to'), outcome: outcome as LogFilter['outcome'] }
}

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A time, or so long ago. @throws PdpError ERR_USAGE */
function timeOf(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const time = count === undefined ? Date.parse(text) : Date.now() - Number(count) * (units[unit as string] as number)
  if (Number.isNaN(time)) throw new PdpError('ERR_USAGE', `${option} is a time such as 2026-03-01T12:00:00Z, or how long ago, such as 15m`)
  return time
}

export function query(folder: string, options: FilterOptions & { readonly limit: string }): void {
  const limit = countOf(options.limit, '--limit')
  const { limit: _, ...filter } = options
  let found = 0
  for (const { line, record } of queryLog(folder, filterOf(filter))) {
    if (found++ >= limit) break
    print(options.json ? line : describe(record))
  }
  if (found === 0 && !options.json) print('no record matches')
  if (found > limit) process.stderr.write(`there are more than ${limit}: see --limit\n`)
}

/** @throws PdpError ERR_USAGE */
function countOf(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new PdpError('ERR_USAGE', `${option} must be a number`)
  return Number(text)
}

const colours = { allow: 'green', deny: 'yellow', error: 'red' } as const

export function describe(record: LogRecord): string {
  const { time, outcome, subject, action, resource, policy, reasons, error, id, kind, cached } = record
  if (outcome === undefined) return `${time} ${kind ?? ''} ${safe(JSON.stringify(record))}`
  const named = (one: LogRecord['subject']) => (one === undefined || one === null ? '-' : `${text(one.type)}:${text(one.id)}`)
  const why =
    error === undefined ? (Array.isArray(reasons) && reasons.length > 0 ? ` ${safe(JSON.stringify(reasons))}` : '') : ` ${error.code}`
  const by = policy === undefined ? '' : ` ${policy.bundle}:${policy.entrypoint}@${policy.epoch}`
  const asked = `${safe(named(subject))} ${safe(text(action?.name))} ${safe(named(resource))}`
  return `${time} ${paint(colours[outcome], outcome.padEnd(5))} ${asked}${safe(by)}${why}${cached ? ' cached' : ''} ${paint('gray', String(id))}`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '-'
}

/** Nothing that a caller sent moves a terminal's cursor. */
export function safe(value: string): string {
  return value.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\ufffd')
}

export async function tail(folder: string, options: FilterOptions & { readonly lines: string; readonly follow?: boolean }): Promise<void> {
  const { lines, follow, ...given } = options
  const filter = filterOf(given)
  const show = ({ line, record }: FoundRecord) => print(options.json ? line : describe(record))
  // Before it is read, so that nothing is missed.
  let at = endOf(folder)
  const last: FoundRecord[] = []
  const count = countOf(lines, '--lines')
  if (count > 0) for (const found of queryLog(folder, filter)) if (last.push(found) >= count) break
  for (const found of last.reverse()) show(found)
  const seen = new Set(last.map(({ line }) => line))
  while (follow) {
    const next = nextLines(folder, at, Number.POSITIVE_INFINITY, tailBytes)
    if (next === undefined) {
      await sleep(pollMs)
      continue
    }
    at = next.place
    for (const line of next.lines) {
      if (seen.delete(line)) continue
      const record = JSON.parse(line) as LogRecord
      if (matches(record, filter)) show({ line, record })
    }
  }
}

const pollMs = 200
/** Read at once. */
const tailBytes = 1024 * 1024

function endOf(folder: string): Place | undefined {
  const file = listSegments(folder).at(-1)
  return file === undefined ? undefined : { file, bytes: statSync(join(folder, file)).size }
}

const percentiles = [50, 99, 99.9]

export function stats(folder: string, options: FilterOptions): void {
  const counts = { outcome: {}, policy: {}, caller: {}, reason: {}, code: {}, door: {} } as Record<string, Record<string, number>>
  const durations: number[] = []
  let [records, cached, first, last] = [0, 0, '', '']
  const count = (what: string, name: string | undefined) => {
    const of = counts[what] as Record<string, number>
    if (name !== undefined && (Object.hasOwn(of, name) || Object.keys(of).length < maxNames)) of[name] = (of[name] ?? 0) + 1
  }
  for (const { record } of queryLog(folder, filterOf(options))) {
    const { outcome, policy, caller, reasons, error, door, time = '', duration_us } = record
    if (outcome === undefined) continue
    records++
    if (record.cached) cached++
    first = first === '' || time < first ? time : first
    last = time > last ? time : last
    count('outcome', outcome)
    count('policy', policy && `${policy.bundle}:${policy.entrypoint}`)
    count('caller', caller?.id ?? caller?.address ?? 'anonymous')
    count('code', error?.code)
    count('door', door)
    if (Array.isArray(reasons)) for (const reason of reasons) if (typeof reason === 'string') count('reason', reason)
    if (duration_us !== undefined && durations.length < maxDurations) durations.push(duration_us)
  }
  durations.sort((a, b) => a - b)
  const at = (percent: number) => durations[Math.min(durations.length - 1, Math.floor((durations.length * percent) / 100))] ?? 0
  const duration_us = Object.fromEntries(percentiles.map((percent) => [`p${percent}`, at(percent)]))
  if (options.json) {
    printJson({ records, cached, from: first, to: last, duration_us, ...counts })
    return
  }
  print(`${records.toLocaleString('en')} decisions from ${first || '-'} to ${last || '-'}, ${cached.toLocaleString('en')} given again`)
  print(`microseconds to decide: ${percentiles.map((percent) => `p${percent} ${at(percent)}`).join(', ')}`)
  for (const [what, of] of Object.entries(counts)) {
    const all = Object.entries(of).sort(([, a], [, b]) => b - a)
    if (all.length > 0) print(paint('bold', what))
    for (const [name, number] of all.slice(0, maxShown)) print(`  ${number.toLocaleString('en').padStart(12)}  ${safe(name)}`)
  }
}

/** Names that are told apart; what comes later is in the sum only. */
const maxNames = 10_000
const maxDurations = 10_000_000
const maxShown = 10
