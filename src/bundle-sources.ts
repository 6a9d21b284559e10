// Where bundles come from beside pushes: the configuration's paths, what an earlier run left, servers; and the alarm when what is
// active was signed too long ago. What happens to a bundle is in bundle-lifecycle.ts.
import { statSync } from 'node:fs'
import type { FastifyBaseLogger } from 'fastify'
import type { BundleLifecycle, BundleSource } from './bundle-lifecycle.ts'
import { expiryOf } from './bundle-signers.ts'
import { pull } from './bundles/pull.ts'
import { watchFolder } from './bundles/watch-folder.ts'
import type { Config } from './config.ts'
import { formatFinding, type PdpError, toPdpError } from './errors.ts'
import type { ActiveBundles } from './policy/active-bundles.ts'
import type { BundleStore } from './state/bundle-store.ts'

/** What is configured by a path, and what was pushed to an earlier run; without any path, whatever was active then. */
export async function activateAll(config: Config, lifecycle: BundleLifecycle, store: BundleStore, log: FastifyBaseLogger): Promise<void> {
  const sources = sourcesOf(config)
  for (const source of sources) {
    const active = await lifecycle.activateSource(source)
    log.info({ bundle: active.name, digest: active.digest, epoch: active.epoch }, 'bundle activated')
  }
  for (const { name, digest } of store.activeBundles()) {
    if (sources.some((source) => source.name === name)) continue
    if (sources.length > 0 && !store.wasPushed(name, digest)) continue
    const active = await lifecycle.activateStored(name, digest)
    log.info({ bundle: active.name, digest: active.digest, epoch: active.epoch }, 'last good bundle activated')
  }
}

function sourcesOf({ bundles }: Config): BundleSource[] {
  return bundles.flatMap(({ name, path, defaultEntrypoint }) => (path === undefined ? [] : [{ name, path, defaultEntrypoint }]))
}

export function watchAll(config: Config, lifecycle: BundleLifecycle, log: FastifyBaseLogger): () => void {
  const folders = sourcesOf(config).filter((source) => statSync(source.path).isDirectory())
  const stops = folders.map((source) =>
    watchFolder(source.path, async () => {
      try {
        const active = await lifecycle.activateSource(source)
        log.info({ bundle: active.name, digest: active.digest, epoch: active.epoch }, 'bundle activated after a change')
      } catch (thrown) {
        const error = toPdpError(thrown)
        const findings = error.findings.map(formatFinding)
        log.error(
          { bundle: source.name, code: error.code, findings },
          `the change is not active, the old policy stays: ${findings[0] ?? error.message}`,
        )
      }
    }),
  )
  return () => {
    for (const stop of stops) stop()
  }
}

/** What servers have is taken in like what is pushed, by the server's address. */
export function pullAll(config: Config, lifecycle: BundleLifecycle, log: FastifyBaseLogger): () => Promise<void> {
  const pullers = config.bundles.flatMap(({ name, pull: source }) => {
    if (source === undefined) return []
    const actor = `pull:${new URL(source.url).host}`
    const take = async (archive: Buffer) => {
      const { revision, epoch } = await lifecycle.push(name, archive, actor, 'pull')
      log.info({ bundle: name, digest: revision.digest, status: revision.status, epoch }, 'bundle pulled')
    }
    const onError = ({ code, message, cause }: PdpError) =>
      log.error({ bundle: name, code, cause: (cause as Error | undefined)?.message }, `${message}; what is active stays`)
    return [pull({ ...source, tokenFile: source.tokenFile, maxBytes: config.server.maxBundleBytes }, take, onError)]
  })
  return async () => {
    await Promise.all(pullers.map((puller) => puller.close()))
  }
}

/** How often signatures of what is active are looked at, and how often an alarm is repeated. */
const expiryCheckMs = 10_000
const expiryAlarmMs = 3_600_000

/** Says so when what is active was signed for a time that is over: a server that is silent, or is kept silent, gives no newer one. */
export function watchExpiries(bundles: ActiveBundles, store: BundleStore, log: FastifyBaseLogger): () => void {
  const told = new Map<string, number>()
  const look = () => {
    const now = Date.now()
    for (const { name, digest, refusedFromMs } of bundles.list()) {
      if (refusedFromMs === Number.POSITIVE_INFINITY) continue
      const expiresAtMs = expiryOf(store.getRevision(name, digest).signers)
      if (expiresAtMs === undefined || now < expiresAtMs || now - (told.get(digest) ?? 0) < expiryAlarmMs) continue
      told.set(digest, now)
      const deniesFrom = new Date(refusedFromMs).toISOString()
      log.error(
        { bundle: name, digest, code: 'ERR_BUNDLE_EXPIRED', expiredAt: new Date(expiresAtMs).toISOString(), deniesFrom },
        now < refusedFromMs
          ? `the signature of what is active has expired; it denies from ${deniesFrom} on: push a newer one`
          : 'the signature of what is active expired too long ago: everything is denied until a newer one is active',
      )
    }
  }
  look()
  const timer = setInterval(look, expiryCheckMs)
  timer.unref()
  return () => clearInterval(timer)
}
