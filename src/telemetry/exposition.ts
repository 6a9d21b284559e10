// What is measured, as Prometheus reads it: its text, and OpenMetrics, which has exemplars: the trace of a decision that fell into a bucket.
// @see https://prometheus.io/docs/instrumenting/exposition_formats
// @see https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
import { version } from '../version.ts'
import { boundsOf, type Cell, type Exemplar, type InstrumentName, instruments, type Metrics } from './metrics.ts'

export type Exposition = 'text' | 'openmetrics'

export const contentTypes: Readonly<Record<Exposition, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
}

/** @param accept of the request @returns OpenMetrics where it is named there and not refused */
export function expositionFor(accept = ''): Exposition {
  const named = /application\/openmetrics-text([^,]*)/i.exec(accept)?.[1]
  return named === undefined || /;\s*q=0(?:\.0+)?\s*(?:;|$)/.test(named) ? 'text' : 'openmetrics'
}

/** Units as the names of Prometheus end in them. */
const suffixes: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' }

/** How an instrument is called for Prometheus. */
export function prometheusName(name: InstrumentName): string {
  return `${familyOf(name)}${instruments[name].kind === 'counter' ? '_total' : ''}`
}

function familyOf(name: InstrumentName): string {
  return `${name.replaceAll('.', '_')}${suffixes[instruments[name].unit] ?? ''}`
}

/** @param labels constant facts about this service */
export function expose(metrics: Metrics, labels: Readonly<Record<string, string>>, as: Exposition): string {
  const lines: string[] = []
  const isOpen = as === 'openmetrics'
  const facts = labelsOf({ service_name: 'verdict', service_version: version, ...labels })
  if (isOpen) lines.push('# HELP target Facts about the service', '# TYPE target info', `target_info${facts} 1`)
  else lines.push('# HELP target_info Facts about the service', '# TYPE target_info gauge', `target_info${facts} 1`)
  for (const [name, cells] of metrics.collect()) {
    const { kind, unit, description } = instruments[name]
    const family = familyOf(name)
    const announced = isOpen ? family : prometheusName(name)
    lines.push(`# HELP ${announced} ${description.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${announced} ${kind}`)
    const suffix = suffixes[unit]
    if (isOpen && suffix !== undefined) lines.push(`# UNIT ${family} ${suffix.slice(1)}`)
    for (const cell of cells) {
      if (kind === 'histogram') addHistogram(lines, family, cell, boundsOf(name), isOpen)
      else lines.push(`${prometheusName(name)}${labelsOf(cell.attributes)} ${cell.value}`)
    }
  }
  if (isOpen) lines.push('# EOF')
  return `${lines.join('\n')}\n`
}

function addHistogram(lines: string[], family: string, cell: Cell, bounds: readonly number[], isOpen: boolean): void {
  const { attributes, buckets = [], exemplars, count, value } = cell
  let below = 0
  for (const [i, inBucket] of buckets.entries()) {
    below += inBucket
    const bound = bounds[i]
    const exemplar = isOpen ? exemplars?.[i] : undefined
    const of = exemplar === undefined ? '' : exemplarText(exemplar)
    lines.push(`${family}_bucket${labelsOf({ ...attributes, le: bound === undefined ? '+Inf' : boundText(bound) })} ${below}${of}`)
  }
  lines.push(`${family}_sum${labelsOf(attributes)} ${value}`, `${family}_count${labelsOf(attributes)} ${count}`)
}

/** The same in both formats, so that a series does not change with what was asked for. */
function boundText(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound)
}

function exemplarText({ traceId, spanId, value, atMs }: Exemplar): string {
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${value} ${atMs / 1_000}`
}

function labelsOf(attributes: Readonly<Record<string, string>>): string {
  const entries = Object.entries(attributes).map(([name, value]) => `${name.replaceAll(/[^A-Za-z0-9_]/g, '_')}="${escaped(value)}"`)
  return entries.length === 0 ? '' : `{${entries.join(',')}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
