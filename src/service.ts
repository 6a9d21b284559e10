// The composition root: reads from top to bottom as a decision goes,
//   transport → identity → subject(measured(shadowed(recorded(isolated(cached(budgeted(filtered(explained(engine))))))))) → transport
// and back again when it stops. Nothing here decides anything.
import { readFileSync } from 'node:fs'
import { type AddressInfo, BlockList, isIPv6 } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import type { DecisionLog } from './audit/decision-log.ts'
import { createRecordWriter } from './audit/decision-record.ts'
import { openFileLog } from './audit/file-log.ts'
import { readCheckpoint } from './audit/log-files.ts'
import type { MaskRule } from './audit/mask.ts'
import { recoveredLine } from './audit/own-records.ts'
import { recorded } from './audit/recorded.ts'
import { reuseLine } from './audit/reuse-record.ts'
import { pseudonym, readRecipient, Sealer } from './audit/seal.ts'
import { bundleInfo, createBundleAdmin } from './bundle-admin.ts'
import { BundleLifecycle } from './bundle-lifecycle.ts'
import { activateAll, pullAll, watchAll, watchExpiries } from './bundle-sources.ts'
import { createCallerIdentity } from './caller-identity.ts'
import { type Config, isLoopback } from './config.ts'
import type { Caller } from './decision/request.ts'
import { withStepBudget } from './decision/step-budget.ts'
import { PdpError } from './errors.ts'
import { Changes } from './guard/changes.ts'
import { findIsolated, withIsolation } from './guard/isolation.ts'
import { withSubjectTokens } from './guard/verified-subject.ts'
import { readText, replaceEach } from './identity/files.ts'
import { watchFiles } from './identity/watched-files.ts'
import { createIsolationAdmin } from './isolation-admin.ts'
import { startRetention } from './log-retention.ts'
import { startSinks } from './log-sinks.ts'
import { ActiveBundles } from './policy/active-bundles.ts'
import { cached } from './policy/cached.ts'
import { DecisionStore } from './policy/decision-store.ts'
import { createEngine } from './policy/engine.ts'
import { explained } from './policy/explained.ts'
import { filtered } from './policy/filtered.ts'
import { logRulesOf } from './policy/log-rules.ts'
import { type Shadows, shadowed } from './policy/shadowed.ts'
import { Toolchain } from './rego/toolchain.ts'
import { observeService } from './service-metrics.ts'
import { StateFolder } from './state/state-folder.ts'
import { contentTypes, expose, expositionFor } from './telemetry/exposition.ts'
import { measured } from './telemetry/measured.ts'
import { boundsOf, Metrics, record } from './telemetry/metrics.ts'
import type { Otlp } from './telemetry/otlp.ts'
import { type MetadataKey, parseMetadataKey } from './transport/authzen-metadata.ts'
import { splitPolicy } from './transport/decide-request.ts'
import type { GatewayOptions } from './transport/gateway/gateway-options.ts'
import { createGrpcServer } from './transport/grpc/server.ts'
import type { Info } from './transport/http/admin-routes.ts'
import type { OpaConfig } from './transport/http/opa-admin-routes.ts'
import { createHttpServer } from './transport/http/server.ts'
import { version } from './version.ts'

export interface Service {
  /** Where HTTP is answered, for example `http://127.0.0.1:8181`. */
  readonly url: string
  /** Where gRPC is answered, for example `127.0.0.1:9191`. */
  readonly grpcAddress: string
  readonly info: Info
  /** Finishes what has begun, writes what was recorded, lets everything go. Safe to call twice. */
  close(): Promise<void>
}

/** Longest text of one print() that is logged, in characters. */
const maxPrintedLength = 4_096

/** How long clients get to learn that their connection ends, before the socket stops listening. */
const drainNoticeMs = 150

/**
 * @param shared a toolchain that outlives the service; default: one of its own
 * @throws PdpError when a bundle, the state folder, the decision log or the address cannot be had
 */
export async function startService(config: Config, log: FastifyBaseLogger, shared?: Toolchain): Promise<Service> {
  const startedAt = new Date()
  const closers: (() => unknown)[] = []
  const closeAll = async () => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const state = new StateFolder(config.state)
    closers.push(() => state.close())
    const toolchain = shared ?? new Toolchain()
    if (shared === undefined) closers.push(() => toolchain.close())
    const recordsFolder = config.decisionLog.folder ?? state.decisionsFolder
    const { shard, guarantee, signingKeyFiles } = config.decisionLog
    const isStrict = guarantee === 'strict'
    let offerCheckpoint: (note: string) => void = () => {}
    const decisionLog = await openFileLog({
      ...config.decisionLog,
      folder: recordsFolder,
      origin: config.decisionLog.origin ?? `verdict/${shard}`,
      keys: signingKeyFiles.length === 0 ? [state.logKey()] : signingKeyFiles.map((file) => readText(file, 'decisionLog.signingKeyFiles')),
      onError: (error) => log.error({ cause: error.message }, 'the decision log cannot be written; nothing is answered until it can'),
      onCheckpoint: (note) => offerCheckpoint(note),
    })
    closers.push(() => decisionLog.close())
    if (decisionLog.recovered !== undefined) {
      const stamp = { shard, seq: decisionLog.nextSeq(), timeMs: Date.now() }
      void decisionLog.append(recoveredLine(decisionLog.recovered, stamp))
      log.warn(decisionLog.recovered, 'the decision log ended within a line, which was cut')
    }

    const bundles = new ActiveBundles()
    const store = state.bundles
    const shadows: Shadows = new Map()
    const lifecycle = new BundleLifecycle({ shadows, config, toolchain, store, bundles, recordsFolder, printer: printerOf(log) })
    closers.push(() => lifecycle.close())
    const keyFiles = config.keys.map(({ file }) => file)
    closers.push(rereadOnChange(keyFiles, () => lifecycle.reloadKeys(), log))
    const { opa } = await toolchain.about()
    const toolchainSha256 = await toolchain.sha256()
    await activateAll(config, lifecycle, store, log)

    const { trustedKey } = config.evaluation
    const engine = createEngine(bundles, { trustedKey })
    const withTrace = explained(engine, bundles, trustedKey, async (question) => {
      const { trace } = await toolchain.eval(question)
      return trace ?? ''
    })
    const withFilters = filtered(withTrace, bundles, trustedKey, (question) => toolchain.filters(question))
    const budgeted = withStepBudget(withFilters, { stepsPerSecond: config.evaluation.callerStepsPerSecond, now: () => performance.now() })
    const cache = {
      maxAgeMs: config.cache.maxAgeMs,
      // Uses elsewhere have no record before their answer.
      maxAnswerMs: isStrict ? 0 : config.cache.maxAgeMs,
      store: config.cache.enabled ? new DecisionStore(config.cache.maxBytes) : undefined,
      now: () => performance.now(),
    }
    const cacheCounts = { hits: 0, misses: 0, passed: 0 }
    const guarded = withIsolation(cached(budgeted, bundles, cache, cacheCounts), state.isolations)
    const sealer = await openSealer(config, recordsFolder, (error) =>
      log.error({ cause: error.message }, 'keys of the decision log cannot be changed; the one before is used'),
    )
    closers.push(() => sealer?.close())
    const writeRecord = createRecordWriter({
      ...config.decisionLog,
      labels: config.labels,
      replace: replacements(config, sealer),
      rulesOf: logRulesOf(bundles, trustedKey),
    })
    const inner = recorded(guarded, decisionLog, writeRecord, (error) =>
      log.error({ cause: (error.cause as Error | undefined)?.stack }, 'internal error'),
    )

    const metrics = new Metrics()
    const issuerBounds = boundsOf('verdict.issuer.request.duration')
    const { isolations, seen } = state
    const callerFacts = { adminToken: state.adminToken(), hosts: servedHosts(config), isolations, seen }
    const identity = await createCallerIdentity(config, callerFacts, bundles, log, (request, ms, isAnswered) =>
      record(metrics.cell('verdict.issuer.request.duration', request, isAnswered ? 'ok' : 'failed'), issuerBounds, ms / 1_000),
    )
    closers.push(() => identity.close())
    const { mayDiffer } = config.authentication.subjects
    const otlp = await openOtlp(config, metrics, startedAt.getTime())
    if (otlp !== undefined) closers.push(() => otlp.close())
    const decider = withSubjectTokens(measured(shadowed(inner, shadows), metrics, otlp?.spans), {
      verify: identity.verifySubject,
      mayDiffer,
    })

    const observed = {
      bundles,
      lifecycle,
      callers: identity.counts,
      cache: cacheCounts,
      store: cache.store,
      isolations,
      log: decisionLog,
      certificateExpiresAtMs: () => identity.tls?.expiresAtMs(),
      authorityExpiries: identity.authorityExpiries,
      startedAtMs: startedAt.getTime(),
    }
    closers.push(observeService(metrics, observed))
    const sinkFailed = (sink: string, { message }: Error) =>
      log.error({ sink, cause: message }, 'a sink of the decision log does not take records')
    const sinks = startSinks(config.decisionLog, recordsFolder, metrics, sinkFailed)
    offerCheckpoint = sinks.offer
    closers.push(async () => {
      // With the last checkpoint.
      await decisionLog.flush().catch(() => {})
      await sinks.close()
    })
    closers.push(
      startRetention(config.decisionLog, decisionLog, sinks.neededFrom, {
        onRemoved: (what) => log.info(what, 'records are kept no longer, as it is configured'),
        onError: ({ message }) => log.error({ cause: message }, 'old records cannot be removed'),
      }),
    )
    const durationBounds = boundsOf('http.server.request.duration')

    let draining = false
    const info = (): Info => ({
      name: 'verdict',
      version,
      opa_version: opa,
      toolchain_sha256: toolchainSha256,
      started_at: startedAt.toISOString(),
      callers: identity.counts,
      cache: { ...cacheCounts, entries: cache.store?.size ?? 0, bytes: cache.store?.bytes ?? 0 },
      bundles: bundles.list().map((bundle) => bundleInfo(bundle, lifecycle, store)),
    })
    const changes = new Changes()
    bundles.onActivated(({ name, epoch }) => changes.add({ type: 'epoch', bundle: name, epoch }))
    isolations.onAdded(({ kind, value }) =>
      changes.add(
        kind === 'caller' || kind === 'client' || kind === 'subject'
          ? { type: 'isolated', kind, value }
          : { type: 'isolated', kind: 'token' },
      ),
    )
    const doors = {
      decider,
      changes,
      epochs: () => bundles.list(),
      isolation: {
        isHeld: (caller: Caller) => isStrict || findIsolated(isolations, caller, Date.now()) !== undefined,
        subjects: () => isolations.values('subject'),
      },
      rules: { ...config.evaluation, maxAgeMs: config.cache.maxAgeMs },
      limits: { ...config.requests, forbidPrototypeKeys: true },
      maxBodyBytes: config.server.maxBodyBytes,
      requestTimeoutMs: config.server.requestTimeoutMs,
      gateways: gatewayOptions(config, bundles, identity.verifySubject !== undefined),
      decideScope: identity.decideScope,
      tls: identity.tls,
      notReady: () => {
        const reasons: string[] = []
        if (draining) reasons.push('draining')
        reasons.push(...identity.notReady())
        if (bundles.list().length === 0) reasons.push('no bundle is active')
        for (const { name, refusedFromMs } of bundles.list())
          if (Date.now() >= refusedFromMs) reasons.push(`the signature of the bundle \`${name}\` expired too long ago`)
        if (!decisionLog.available) reasons.push('the decision log cannot be written')
        return reasons
      },
      log,
    }
    let metadataKey = readMetadataKey(config)
    const { metadataKeyFile } = config.authzen
    const changeKey = () => {
      metadataKey = readMetadataKey(config)
    }
    if (metadataKeyFile !== undefined) closers.push(rereadOnChange([metadataKeyFile], changeKey, log))
    const http = createHttpServer({
      ...doors,
      hosts: servedHosts(config),
      adminScope: identity.adminScope,
      bundles: {
        bundleAdmin: createBundleAdmin(lifecycle, store, shadows),
        hasRole: identity.hasRole,
        maxBundleBytes: config.server.maxBundleBytes,
      },
      isolationAdmin: createIsolationAdmin(state.isolations, store, config.authentication.releaseByAnother),
      info,
      checkpoint: () => readCheckpoint(recordsFolder),
      metrics: (accept) => {
        const format = expositionFor(accept)
        return { contentType: contentTypes[format], text: expose(metrics, config.labels, format) }
      },
      onAnswered: (route, status, ms) =>
        record(metrics.cell('http.server.request.duration', route, String(status)), durationBounds, ms / 1_000),
      recordReuses: (caller, reuses) =>
        appendAll(decisionLog, reuses, (one, seq) => reuseLine(caller, one, { shard, seq, timeMs: Date.now() })),
      recordTold: (told) =>
        appendAll(decisionLog, told, ({ request, decision, durationUs }, seq) => writeRecord(request, decision, seq, durationUs)),
      opa: { config: () => opaConfig(config, bundles), yamlToJson: (text: string) => toolchain.yamlToJson(text) },
      candidates: () => bundles.candidates(),
      authzen: { publicUrl: config.authzen.publicUrl, metadataKey: () => metadataKey },
    })
    const callBounds = boundsOf('rpc.server.call.duration')
    const grpc = createGrpcServer({
      ...doors,
      onAnswered: (method, status, ms) => record(metrics.cell('rpc.server.call.duration', method, status), callBounds, ms / 1_000),
    })
    await listen(http.app, config)
    closers.push(async () => {
      draining = true
      http.startDraining()
      grpc.startDraining()
      await new Promise((resolve) => setTimeout(resolve, Math.min(drainNoticeMs, config.server.drainTimeoutMs)))
      const force = setTimeout(() => http.app.server.closeAllConnections(), config.server.drainTimeoutMs)
      await Promise.all([http.app.close(), grpc.close(config.server.drainTimeoutMs)])
      clearTimeout(force)
    })
    const grpcPort = await grpc.listen(config.server.host, config.server.grpcPort)
    if (config.watch) closers.push(watchAll(config, lifecycle, log))
    closers.push(pullAll(config, lifecycle, log))
    closers.push(watchExpiries(bundles, store, log))

    const { port } = http.app.server.address() as AddressInfo
    const host = config.server.host.includes(':') ? `[${config.server.host}]` : config.server.host
    return {
      url: `${identity.tls === undefined ? 'http' : 'https'}://${host}:${port}`,
      grpcAddress: `${host}:${grpcPort}`,
      info: info(),
      close: closeAll,
    }
  } catch (thrown) {
    await closeAll().catch(() => {})
    throw thrown
  }
}

/** @throws PdpError ERR_LOG_UNAVAILABLE */
async function appendAll<T>(log: DecisionLog, all: readonly T[], lineOf: (one: T, seq: number) => string): Promise<void> {
  const unavailable = () => new PdpError('ERR_LOG_UNAVAILABLE', 'the decision log cannot be written')
  if (!log.available) throw unavailable()
  // Batches are written in their order: where the last one is, all are.
  let kept: Promise<void> | undefined
  for (const one of all) kept = log.append(lineOf(one, log.nextSeq()))
  await kept?.catch(() => {
    throw unavailable()
  })
}

/** @throws PdpError ERR_CONFIG_INVALID */
async function openSealer({ decisionLog }: Config, folder: string, onError: (error: Error) => void): Promise<Sealer | undefined> {
  const { encryption } = decisionLog
  if (encryption === undefined) return undefined
  const recipients = encryption.recipients.map(({ id, file }) => readRecipient(id, readText(file, 'decisionLog.encryption')))
  return Sealer.open({ folder, recipients, rotateMs: encryption.rotateMs, keepMs: encryption.keepMs, onError })
}

/** @throws PdpError ERR_CONFIG_INVALID */
function replacements({ decisionLog }: Config, sealer: Sealer | undefined): MaskRule[] {
  const { pseudonyms, encryption } = decisionLog
  const rules: MaskRule[] = []
  if (pseudonyms !== undefined) {
    const key = Buffer.from(readText(pseudonyms.keyFile, 'decisionLog.pseudonyms').trim())
    if (key.length < 32) throw new PdpError('ERR_CONFIG_INVALID', 'decisionLog.pseudonyms: the secret must have 32 bytes at least')
    const replace = pseudonym(key)
    rules.push(...pseudonyms.pointers.map((pointer) => ({ pointer, replace })))
  }
  if (encryption !== undefined && sealer !== undefined)
    rules.push(...encryption.pointers.map((pointer) => ({ pointer, replace: sealer.seal })))
  return rules
}

/** The exporter is loaded only where there is a collector. */
async function openOtlp({ telemetry, labels }: Config, metrics: Metrics, startedAtMs: number): Promise<Otlp | undefined> {
  const { otlpUrl: url, otlpHeaderFile, intervalMs } = telemetry
  if (url === undefined) return undefined
  const { startOtlp } = await import('./telemetry/otlp.ts')
  const headers = otlpHeaderFile === undefined ? {} : { authorization: readText(otlpHeaderFile, 'telemetry.otlpHeaderFile').trim() }
  return startOtlp(metrics, startedAtMs, { url, headers, intervalMs, labels })
}

/** What OPA's clients read of the configuration: nothing that names a file or a secret. */
function opaConfig({ labels, gateways }: Config, bundles: ActiveBundles): OpaConfig {
  return {
    labels,
    default_decision: bundles.list()[0]?.defaultEntrypoint?.identity.entrypoint,
    plugins: { envoy_ext_authz_grpc: { path: gateways.policy ?? envoyEntrypoint } },
  }
}

/** print() and trace() of policies, at debug level; they cost nothing where that is not logged. */
function printerOf(log: FastifyBaseLogger): ((text: string) => void) | undefined {
  return log.level === 'debug' || log.level === 'trace'
    ? (text) => log.debug({ printed: text.slice(0, maxPrintedLength) }, 'a policy printed')
    : undefined
}

/** Reads what is in files again when they change; what cannot be used leaves what was there. */
function rereadOnChange(files: readonly string[], read: () => void, log: FastifyBaseLogger): () => void {
  return watchFiles(files, () => {
    if (replaceEach([read], ({ code }, message) => log.error({ code }, message))) log.info({}, 'keys read again')
  })
}

function readMetadataKey({ authzen: { metadataKeyFile: file } }: Config): MetadataKey | undefined {
  if (file === undefined) return undefined
  try {
    return parseMetadataKey(readFileSync(file, 'utf8'))
  } catch (cause) {
    if (cause instanceof PdpError) throw cause
    throw new PdpError('ERR_FILE', `authzen.metadataKeyFile: \`${file}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/** The entrypoint that opa-envoy-plugin asks when nothing is configured. */
const envoyEntrypoint = 'envoy/authz/allow'

function gatewayOptions({ gateways }: Config, bundles: ActiveBundles, verifiesTokens: boolean): GatewayOptions {
  const [bundle, entrypoint] = gateways.policy === undefined ? [] : splitPolicy(gateways.policy)
  const trusted = new BlockList()
  for (const proxy of gateways.trustedProxies) {
    const [address, prefix] = proxy.split('/') as [string, string | undefined]
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    if (prefix === undefined) trusted.addAddress(address, family)
    else trusted.addSubnet(address, Number(prefix), family)
  }
  return {
    policy: () =>
      gateways.policy === undefined && bundles.hasEntrypoint(envoyEntrypoint) ? { entrypoint: envoyEntrypoint } : { bundle, entrypoint },
    passTruncated: gateways.truncatedBodies === 'pass',
    isTrustedProxy: (address) => address !== undefined && trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'),
    verifiesTokens,
    cacheControl: gateways.cacheControl,
  }
}

function servedHosts(config: Config): ReadonlySet<string> | undefined {
  const { host, hosts } = config.server
  if (!isLoopback(host) && hosts.length === 0) return undefined
  return new Set(['localhost', '127.0.0.1', '[::1]', host.includes(':') ? `[${host}]` : host, ...hosts].map((h) => h.toLowerCase()))
}

async function listen(app: { listen(options: { host: string; port: number }): Promise<string> }, config: Config): Promise<void> {
  const { host, port } = config.server
  try {
    await app.listen({ host, port })
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
        ? 'another program listens there: stop it, or choose another with --port'
        : (cause as Error).message
    throw new PdpError('ERR_LISTEN', `cannot listen on ${host}:${port}: ${reason}`, { cause })
  }
}
