// To a collector by OTLP: metrics at an interval, spans of decisions whose caller samples its trace. Loaded only where it is configured.
import { SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace'
import type { SpanSink } from './measured.ts'
import { hrTime, metricProducer, resourceOf, scope } from './metric-data.ts'
import type { Metrics } from './metrics.ts'

export interface OtlpOptions {
  /** Of the collector, without a path: `/v1/metrics` and `/v1/traces` are added. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Between two exports of metrics. Milliseconds. */
  readonly intervalMs: number
  readonly labels: Readonly<Record<string, string>>
}

export interface Otlp {
  readonly spans: SpanSink
  /** Exports what is left. */
  close(): Promise<void>
}

/** Spans that wait to be exported; those beyond are dropped, as they are no record. */
const maxQueued = 8_192
const timeoutMs = 5_000

export function startOtlp(metrics: Metrics, startedAtMs: number, { url, headers, intervalMs, labels }: OtlpOptions): Otlp {
  const base = url.replace(/\/+$/, '')
  const resource = resourceOf(labels)
  const to = (path: string) => ({ url: `${base}${path}`, headers: { ...headers }, timeoutMillis: timeoutMs })
  const processor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter(to('/v1/traces')), maxQueueSize: maxQueued })
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(to('/v1/metrics')),
    exportIntervalMillis: intervalMs,
    exportTimeoutMillis: Math.min(timeoutMs, intervalMs),
    metricProducers: [metricProducer(metrics, labels, startedAtMs)],
  })
  const sdk = new NodeSDK({
    resource,
    autoDetectResources: false,
    metricReaders: [reader],
    spanProcessors: [processor],
    instrumentations: [],
  })
  sdk.start()
  return {
    spans({ trace, door, correlationId }, { outcome, policy, cached, steps, id, error }, startMs, endMs) {
      if (trace === undefined) return
      const { traceId, spanId, parentId } = trace
      const context = (of: string) => ({ traceId, spanId: of, traceFlags: TraceFlags.SAMPLED })
      processor.onEnd({
        name: 'decide',
        kind: SpanKind.SERVER,
        spanContext: () => context(spanId),
        parentSpanContext: { ...context(parentId), isRemote: true },
        startTime: hrTime(startMs),
        endTime: hrTime(endMs),
        duration: hrTime(endMs - startMs),
        ended: true,
        status: error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: error.code },
        attributes: {
          'verdict.decision': outcome,
          'verdict.decision.id': id,
          'verdict.door': door,
          'verdict.correlation_id': correlationId,
          'verdict.cached': cached,
          'verdict.steps': steps,
          ...(policy !== undefined && {
            'verdict.bundle': policy.bundle,
            'verdict.entrypoint': policy.entrypoint,
            'verdict.revision': policy.revision,
            'verdict.digest': policy.digest,
            'verdict.epoch': policy.epoch,
          }),
        },
        links: [],
        events: [],
        resource,
        instrumentationScope: scope,
        droppedAttributesCount: 0,
        droppedEventsCount: 0,
        droppedLinksCount: 0,
      })
    },
    close: () => sdk.shutdown().catch(() => {}),
  }
}
