// What is measured, as OpenTelemetry's data: for whoever scrapes it, in the text of Prometheus, and for the exporter (otlp.ts).
import { type HrTime, ValueType } from '@opentelemetry/api'
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type MetricProducer,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import { version } from '../version.ts'
import { boundsOf, type Cell, type InstrumentName, instruments, type Metrics } from './metrics.ts'

export const scope = { name: 'verdict', version }

export function resourceOf(labels: Readonly<Record<string, string>>) {
  return resourceFromAttributes({ 'service.name': 'verdict', 'service.version': version, ...labels })
}

/**
 * @param labels constant facts about this service
 * @param startedAtMs since when it counts. Milliseconds since 1970
 */
export function metricProducer(metrics: Metrics, labels: Readonly<Record<string, string>>, startedAtMs: number): MetricProducer {
  const resource = resourceOf(labels)
  const startTime = hrTime(startedAtMs)
  return {
    async collect() {
      const endTime = hrTime(Date.now())
      const all = [...metrics.collect()].map(([name, cells]) => dataOf(name, cells, startTime, endTime))
      return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics: all }] }, errors: [] }
    },
  }
}

/** As Prometheus has its names: the unit at their end, and nowhere else. */
const suffixes: Readonly<Record<string, string>> = { s: '.seconds', By: '.bytes' }

function forPrometheus(data: ResourceMetrics): ResourceMetrics {
  const renamed = (one: MetricData): MetricData => {
    const { name, unit } = one.descriptor
    return { ...one, descriptor: { ...one.descriptor, name: `${name}${suffixes[unit] ?? ''}`, unit: '' } }
  }
  return { ...data, scopeMetrics: data.scopeMetrics.map((one) => ({ ...one, metrics: one.metrics.map(renamed) })) }
}

/** How an instrument is called in the text of Prometheus. */
export function prometheusName(name: InstrumentName): string {
  const { kind, unit } = instruments[name]
  return `${name}${suffixes[unit] ?? ''}${kind === 'counter' ? '.total' : ''}`.replaceAll('.', '_')
}

/** @returns for `GET /metrics` @see https://prometheus.io/docs/instrumenting/exposition_formats */
export function prometheusText(producer: MetricProducer): () => Promise<string> {
  const serializer = new PrometheusSerializer('', false, undefined, false, true)
  return async () => serializer.serialize(forPrometheus((await producer.collect()).resourceMetrics as ResourceMetrics))
}

function dataOf(name: InstrumentName, cells: readonly Cell[], startTime: HrTime, endTime: HrTime): MetricData {
  const { kind, unit, description } = instruments[name]
  const common = {
    descriptor: { name, description, unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  const point = <T>({ attributes }: Cell, value: T) => ({ startTime, endTime, attributes, value })
  if (kind === 'histogram') {
    const boundaries = [...boundsOf(name)]
    const dataPoints = cells.map((cell) =>
      point(cell, { buckets: { boundaries, counts: cell.buckets as number[] }, sum: cell.value, count: cell.count }),
    )
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints }
  }
  const dataPoints = cells.map((cell) => point(cell, cell.value))
  return kind === 'counter'
    ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { ...common, dataPointType: DataPointType.GAUGE, dataPoints }
}

export function hrTime(ms: number): HrTime {
  const whole = Math.floor(ms / 1_000)
  return [whole, Math.round((ms - whole * 1_000) * 1e6)]
}
