// What is measured, as OpenTelemetry's data, for the exporter (otlp.ts). Its data points have no place for exemplars.
import { type HrTime, ValueType } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AggregationTemporality, DataPointType, type MetricData, type MetricProducer } from '@opentelemetry/sdk-metrics'
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
