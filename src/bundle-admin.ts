// The life of bundles as the admin scope sees it: the port of src/transport/http/bundle-routes.ts over the lifecycle and its store.
import type { BundleLifecycle } from './bundle-lifecycle.ts'
import { expiryOf } from './bundle-signers.ts'
import { PdpError } from './errors.ts'
import type { ActiveBundle } from './policy/active-bundles.ts'
import type { Shadows } from './policy/shadowed.ts'
import type { Act, BundleStore, StoredRevision } from './state/bundle-store.ts'
import type { Info } from './transport/http/admin-routes.ts'
import type { ActInfo, BundleAdmin, RevisionInfo } from './transport/http/bundle-routes.ts'

const dayMs = 86_400_000

export function createBundleAdmin(lifecycle: BundleLifecycle, store: BundleStore, shadows: Shadows): BundleAdmin {
  const infoOf = (revision: StoredRevision, withReport = false): RevisionInfo => {
    const active = store.active(revision.name)
    const isActive = active?.digest === revision.digest
    const expiresAtMs = expiryOf(revision.signers)
    return {
      name: revision.name,
      digest: revision.digest,
      revision: revision.revision,
      origin: revision.origin,
      pushed_by: revision.pushedBy,
      pushed_at: new Date(revision.pushedAtMs).toISOString(),
      bytes: revision.bytes,
      status: revision.status,
      needed_approvals: revision.needed,
      approved_by: [...revision.approvedBy],
      needed_signers: revision.neededSigners,
      signed_by: revision.signers.map(({ keyId }) => keyId),
      ...(expiresAtMs !== undefined && { expires_at: new Date(expiresAtMs).toISOString() }),
      active: isActive,
      ...(isActive && { epoch: active.epoch }),
      ...(withReport && revision.report !== '' && { report: JSON.parse(revision.report) }),
    }
  }
  const found = (name: string, digest: string, withReport = false) => {
    lifecycle.rulesOf(name)
    return infoOf(store.getRevision(name, digest), withReport)
  }
  return {
    async push(name, archive, actor) {
      const { revision } = await lifecycle.push(name, archive, actor)
      return found(name, revision.digest, true)
    },
    async patch(name, operations, epoch, actor) {
      const { revision } = await lifecycle.patch(name, operations, epoch, actor)
      return found(name, revision.digest, true)
    },
    revisions: (name) => {
      lifecycle.rulesOf(name)
      return store.listRevisions(name).map((revision) => infoOf(revision))
    },
    revision: (name, digest) => found(name, digest, true),
    archive(name, digest) {
      lifecycle.rulesOf(name)
      const active = digest === undefined ? store.active(name) : undefined
      const wanted = digest ?? active?.digest
      if (wanted === undefined) throw new PdpError('ERR_UNKNOWN_BUNDLE', `no bundle is called \`${name}\``)
      store.getRevision(name, wanted)
      return {
        digest: wanted,
        epoch: active?.epoch,
        defaultEntrypoint: lifecycle.rulesOf(name).defaultEntrypoint,
        bytes: store.readArchive(wanted),
      }
    },
    async approve(name, digest, actor) {
      await lifecycle.approve(name, digest, actor)
      return found(name, digest)
    },
    async sign(name, digest, envelope, actor) {
      await lifecycle.addEnvelope(name, digest, envelope, actor)
      return found(name, digest)
    },
    async activate(name, digest, actor) {
      await lifecycle.activate(name, digest, actor)
      return found(name, digest)
    },
    async rollback(name, digest, actor) {
      const active = await lifecycle.rollback(name, digest, actor)
      return found(name, active.digest)
    },
    async shadow(name, digest, actor) {
      lifecycle.rulesOf(name)
      await lifecycle.shadow(name, digest, actor)
    },
    async compare(name, from, to) {
      const { passedOver, ...rest } = await lifecycle.compare(name, from, to)
      return { ...rest, passed_over: passedOver }
    },
    shadowReport(name) {
      lifecycle.rulesOf(name)
      const report = shadows.get(name)?.report()
      if (report === undefined) return undefined
      const { sinceMs, passedOver, ...rest } = report
      return { ...rest, since: new Date(sinceMs).toISOString(), passed_over: passedOver }
    },
    async collect(keep, maxAgeDays, actor) {
      const removed = store.collect(keep, maxAgeDays * dayMs, actor)
      await store.sync()
      return removed.map((revision) => infoOf(revision))
    },
    onAct: (listener) => store.onAct(listener),
    acts: (after, limit, name) => store.acts(after, limit, name).map(actInfo),
  }
}

/** What an active bundle is, for those who look after the service. */
export function bundleInfo(bundle: ActiveBundle, lifecycle: BundleLifecycle, store: BundleStore): Info['bundles'][number] {
  const { signers } = store.getRevision(bundle.name, bundle.digest)
  const expiresAtMs = expiryOf(signers)
  return {
    name: bundle.name,
    revision: bundle.revision,
    digest: bundle.digest,
    epoch: bundle.epoch,
    activated_at: new Date(bundle.activatedAtMs).toISOString(),
    entrypoints: [...bundle.entrypoints.keys()],
    default_entrypoint: bundle.defaultEntrypoint?.identity.entrypoint,
    memory_bytes: bundle.instance.memoryBytes,
    signed_by: signers.map(({ keyId }) => keyId),
    expires_at: expiresAtMs === undefined ? undefined : new Date(expiresAtMs).toISOString(),
    stale: expiresAtMs !== undefined && Date.now() >= expiresAtMs,
    last_error: lifecycle.lastError(bundle.name)?.message,
  }
}

function actInfo({ seq, atMs, actor, act, name, digest, epoch, detail }: Act): ActInfo {
  return { seq, time: new Date(atMs).toISOString(), actor, act, bundle: name, digest, ...(epoch > 0 && { epoch }), detail }
}
