// What is measured of a running service when somebody asks: sizes, ages and counts that its parts have anyway. What is counted with each
// decision is in src/telemetry/measured.ts.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FileLog } from './audit/file-log.ts'
import type { BundleLifecycle } from './bundle-lifecycle.ts'
import type { Counts } from './caller-identity.ts'
import type { ActiveBundles } from './policy/active-bundles.ts'
import type { CacheCounts } from './policy/cached.ts'
import type { DecisionStore } from './policy/decision-store.ts'
import { type IsolationStore, isolationKinds } from './state/isolation-store.ts'
import type { Metrics } from './telemetry/metrics.ts'
import { version } from './version.ts'

export interface Observed {
  readonly bundles: ActiveBundles
  readonly lifecycle: BundleLifecycle
  readonly callers: Counts
  readonly cache: CacheCounts
  readonly store: DecisionStore | undefined
  readonly isolations: IsolationStore
  readonly log: FileLog
  /** Of the service's certificate, milliseconds since 1970; undefined: it has none. */
  readonly certificateExpiresAtMs: () => number | undefined
  /** By trust domain, milliseconds since 1970. */
  readonly authorityExpiries: () => readonly (readonly [trustDomain: string, ms: number])[]
  readonly startedAtMs: number
}

/** How exactly the event loop is watched. Milliseconds. */
const delayResolutionMs = 10
const percentiles = [50, 99, 100]

/** @returns ends it */
export function observeService(metrics: Metrics, observed: Observed): () => void {
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  delay.enable()
  const set = (name: Parameters<Metrics['cell']>[0], value: number, ...values: readonly string[]) => {
    metrics.cell(name, ...values).value = value
  }
  metrics.onCollect(() => {
    const { bundles, lifecycle, callers, cache, store, isolations, log, certificateExpiresAtMs, authorityExpiries, startedAtMs } = observed
    const now = Date.now()
    for (const name of [
      'verdict.bundle.epoch',
      'verdict.bundle.age',
      'verdict.bundle.refused_in',
      'verdict.bundle.failed',
      'verdict.bundle.memory',
      'verdict.authorities.expire_in',
    ] as const)
      metrics.clear(name)
    for (const { name, epoch, activatedAtMs, refusedFromMs, instance } of bundles.list()) {
      set('verdict.bundle.epoch', epoch, name)
      set('verdict.bundle.age', (now - activatedAtMs) / 1_000, name)
      if (refusedFromMs !== Number.POSITIVE_INFINITY) set('verdict.bundle.refused_in', (refusedFromMs - now) / 1_000, name)
      set('verdict.bundle.failed', lifecycle.lastError(name) === undefined ? 0 : 1, name)
      set('verdict.bundle.memory', instance.memoryBytes, name)
    }
    for (const [outcome, count] of Object.entries(callers.requests)) set('verdict.callers.requests', count, outcome)
    for (const [outcome, count] of Object.entries(callers.handshakes)) set('verdict.callers.handshakes', count, outcome)
    for (const [outcome, count] of Object.entries(cache)) set('verdict.cache.lookups', count, outcome)
    set('verdict.cache.entries', store?.size ?? 0)
    set('verdict.cache.size', store?.bytes ?? 0)
    for (const kind of isolationKinds) set('verdict.isolated', isolations.values(kind).length, kind)
    set('verdict.log.pending', log.pendingBytes)
    set('verdict.log.failures', log.failures)
    set('verdict.log.lost', log.lostBytes)
    set('verdict.log.available', log.available ? 1 : 0)
    const { checkpoint } = log
    if (checkpoint !== undefined) {
      set('verdict.log.signed', checkpoint.size)
      set('verdict.log.checkpoint.age', (now - checkpoint.atMs) / 1_000)
    }
    const expiresAtMs = certificateExpiresAtMs()
    if (expiresAtMs !== undefined) set('verdict.certificate.expires_in', (expiresAtMs - now) / 1_000)
    for (const [trustDomain, ms] of authorityExpiries()) set('verdict.authorities.expire_in', (ms - now) / 1_000, trustDomain)
    for (const percentile of percentiles) {
      const seconds = Math.max(0, delay.percentile(percentile) / 1e9 - delayResolutionMs / 1_000)
      set('verdict.event_loop.delay', delay.count === 0 ? 0 : seconds, String(percentile))
    }
    delay.reset()
    set('process.memory.usage', process.memoryUsage.rss())
    const { user, system } = process.cpuUsage()
    set('process.cpu.time', user / 1e6, 'user')
    set('process.cpu.time', system / 1e6, 'system')
    set('verdict.uptime', (now - startedAtMs) / 1_000, version)
  })
  return () => delay.disable()
}
