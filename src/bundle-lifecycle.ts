// How a bundle comes to answer: read or compiled, checked by the gate, approved, loaded beside the active one, counted, swapped
// in. One check and one activation at a time; a candidate that fails leaves everything as it was. Who may do what is decided
// before; that nobody approves what they pushed is decided by the store.
import { readFile, stat } from 'node:fs/promises'
import { BundleLoader } from './bundle-loader.ts'
import { BundleSigners, refusedFrom } from './bundle-signers.ts'
import { readArchive } from './bundles/archive.ts'
import { buildBundle, withData } from './bundles/build-bundle.ts'
import type { Bundle } from './bundles/bundle.ts'
import { applyDelta, type Delta, readDelta } from './bundles/delta.ts'
import { readFolder } from './bundles/folder.ts'
import { type GateReport, type Replay, summaryOf } from './bundles/gate-report.ts'
import { applyPatch, isSame, type PatchOperation, valueAt } from './bundles/json-patch.ts'
import { bundleOf, readBundle } from './bundles/read-bundle.ts'
import { type BundleRules, type Config, defaultRules, isBundleName } from './config.ts'
import { PdpError, toPdpError } from './errors.ts'
import { compareDecisions, type GateOptions, runGate } from './gate.ts'
import type { ActiveBundle, ActiveBundles } from './policy/active-bundles.ts'
import { Shadow, type Shadows } from './policy/shadowed.ts'
import type { Toolchain } from './rego/toolchain.ts'
import type { ActName, BundleStore, StoredRevision } from './state/bundle-store.ts'

/** A bundle that lies on disk. */
export type BundleSource = Pick<BundleRules, 'name' | 'defaultEntrypoint'> & { readonly path: string }

export interface Pushed {
  readonly revision: StoredRevision
  /** Set when it answers. */
  readonly epoch: number | undefined
}

export interface LifecycleOptions {
  readonly config: Config
  readonly toolchain: Toolchain
  readonly store: BundleStore
  readonly bundles: ActiveBundles
  readonly shadows: Shadows
  /** Where the records of decisions lie. */
  readonly recordsFolder: string
  /** Where print() and trace() of policies go. */
  readonly printer?: ((text: string) => void) | undefined
}

/** Who acts when nobody in particular does. */
const service = 'service'
/** Origins of revisions that are the change of another. */
const changes: ReadonlySet<string> = new Set(['patch', 'delta'])
/** Candidates that may wait for the gate. */
const maxWaiting = 8

export class BundleLifecycle {
  readonly #options: LifecycleOptions
  readonly #loader: BundleLoader
  readonly #signers: BundleSigners
  readonly #lastErrors = new Map<string, PdpError>()
  #activations: Promise<unknown> = Promise.resolve()
  #checks: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** @throws PdpError ERR_CONFIG_INVALID for a key that cannot be read */
  constructor(options: LifecycleOptions) {
    const { config, toolchain, store, printer } = options
    this.#options = options
    this.#loader = new BundleLoader(config, toolchain, store, printer)
    this.#signers = new BundleSigners(config)
  }

  /** Reads the keys of signers again. @throws PdpError ERR_CONFIG_INVALID; those of before stay */
  reloadKeys(): void {
    this.#signers.reload()
  }

  /** Why the newest candidate of a bundle was not activated; undefined when it was. */
  lastError(name: string): PdpError | undefined {
    return this.#lastErrors.get(name)
  }

  /**
   * Reads or compiles a source and activates it, unchecked: whoever starts the service answers for it. The same archive as the
   * active one changes nothing.
   * @throws PdpError of whatever failed; the active bundle goes on answering
   */
  activateSource(source: BundleSource): Promise<ActiveBundle> {
    return this.#inTurn(source.name, async () => {
      const bundle = await this.#read(source)
      await this.#note(source.name, bundle)
      return this.#activate(source.name, bundle, source.defaultEntrypoint, service, 'activated')
    })
  }

  /** Activates what the state folder kept of a bundle from an earlier run. */
  activateStored(name: string, digest: string): Promise<ActiveBundle> {
    return this.#activateRevision(name, digest, service, 'activated')
  }

  /**
   * Takes a bundle in: kept, checked, and activated where it may be. A delta is the change of what is active.
   * @param actor who pushed it
   * @throws PdpError as readBundle, readDelta; ERR_BUNDLE_SIGNATURE, ERR_BUNDLE_ROLLBACK; ERR_UNKNOWN_BUNDLE for what is no name; ERR_CONFLICT; ERR_OVERLOADED
   */
  async push(name: string, archive: Buffer, actor: string, origin: 'push' | 'pull' = 'push'): Promise<Pushed> {
    const { store, toolchain } = this.#options
    const rules = this.#rulesOfTakenIn(name)
    return this.#inLine(async () => {
      const files = await readArchive(archive)
      // Before anything in it is read.
      const signed = await this.#signers.verify(rules, files)
      const delta = readDelta(files)
      if (delta !== undefined) {
        const bundle = { ...(await this.#changed(name, delta)), signed }
        return this.#takeIn(name, bundle, rules, actor, 'delta', delta.base)
      }
      const bundle = await bundleOf(archive, files, { compiler: toolchain, signed })
      const { digest, manifest } = bundle
      const same = store
        .listRevisions(name)
        .find((one) => one.revision !== '' && one.revision === manifest.revision && !changes.has(one.origin))
      if (same !== undefined && same.digest !== digest) {
        throw new PdpError(
          'ERR_CONFLICT',
          `the bundle \`${name}\` has another archive with the revision \`${manifest.revision}\`: ${same.digest}`,
        )
      }
      return this.#takeIn(name, bundle, rules, actor, origin)
    })
  }

  /**
   * Changes the data of what is active: a revision of its own, checked and approved like others.
   * @param epoch of what the change is meant for
   * @throws PdpError as applyPatch; ERR_EPOCH_MISMATCH where something else is active; ERR_CONFLICT where data must be signed or
   * comes from a path
   */
  async patch(name: string, operations: readonly PatchOperation[], epoch: number, actor: string): Promise<Pushed> {
    const { store } = this.#options
    const rules = this.#rulesOfTakenIn(name)
    if (rules.signature.required) throw new PdpError('ERR_CONFLICT', `the bundle \`${name}\` must be signed: push a signed one`)
    return this.#inLine(async () => {
      const active = store.active(name)
      if (active?.epoch !== epoch) {
        throw new PdpError(
          'ERR_EPOCH_MISMATCH',
          `the bundle \`${name}\` is at epoch \`${active?.epoch ?? 0}\`, the change is for \`${epoch}\``,
        )
      }
      const base = await this.#loader.stored(active.digest)
      const bundle = await readBundle(await withData(base.archive, applyPatch(base.data, operations)))
      return this.#takeIn(name, bundle, rules, actor, 'patch', active.digest)
    })
  }

  /**
   * Approves a revision, and activates it when that was the last approval and nothing else is configured.
   * @throws PdpError as BundleStore.approve
   */
  approve(name: string, digest: string, actor: string): Promise<void> {
    return this.#go(this.#options.store.approve(name, digest, actor), actor)
  }

  /**
   * Takes in an envelope by which others sign a revision, and activates it when nothing else is missing.
   * @param envelope JSON text
   * @throws PdpError ERR_BUNDLE_SIGNATURE; as BundleStore.addSigners
   */
  async addEnvelope(name: string, digest: string, envelope: string, actor: string): Promise<void> {
    const signers = this.#signers.verifyEnvelope(this.rulesOf(name), digest, envelope)
    await this.#go(this.#options.store.addSigners(name, digest, signers, envelope, actor), actor)
  }

  /** What may answer now does, where nothing else is configured. */
  async #go({ name, digest, status }: StoredRevision, actor: string): Promise<void> {
    await this.#options.store.sync()
    if (status === 'ready' && this.rulesOf(name).activation === 'auto') await this.#activateRevision(name, digest, actor, 'activated')
  }

  /**
   * Activates a revision that passed.
   * @throws PdpError ERR_UNKNOWN_REVISION; ERR_CONFLICT for one that did not
   */
  activate(name: string, digest: string, actor: string): Promise<ActiveBundle> {
    this.#checkReady(name, digest)
    return this.#activateRevision(name, digest, actor, 'activated')
  }

  /**
   * Activates what was active before, or a revision that is named, as a new epoch.
   * @throws PdpError ERR_UNKNOWN_REVISION, ERR_CONFLICT
   */
  rollback(name: string, digest: string | undefined, actor: string): Promise<ActiveBundle> {
    const target = digest ?? this.#options.store.previous(name)
    if (target === undefined) throw new PdpError('ERR_CONFLICT', `nothing was active before what is active of \`${name}\``)
    this.#checkReady(name, target)
    return this.#activateRevision(name, target, actor, 'rolled_back')
  }

  /**
   * Lets a candidate answer beside what is active, unheard; undefined: none any longer.
   * @throws PdpError ERR_UNKNOWN_REVISION; ERR_CONFLICT for one that was rejected
   */
  async shadow(name: string, digest: string | undefined, actor: string): Promise<void> {
    const { store, shadows, config } = this.#options
    if (digest === undefined) {
      const shadow = shadows.get(name)
      if (shadow === undefined) throw new PdpError('ERR_CONFLICT', `no revision of \`${name}\` answers in the shadow`)
      shadows.delete(name)
      store.note(actor, 'shadow_ended', name, shadow.digest)
      return store.sync()
    }
    const { status } = store.getRevision(name, digest)
    if (status !== 'ready' && status !== 'held')
      throw new PdpError('ERR_CONFLICT', `the revision \`${digest}\` of \`${name}\` is \`${status}\``)
    shadows.set(name, new Shadow(digest, await this.#loader.instance(digest), config.evaluation.trustedKey, Date.now()))
    store.note(actor, 'shadow_started', name, digest)
    return store.sync()
  }

  /**
   * Which of the newest recorded decisions would be others by a revision than by another.
   * @throws PdpError ERR_UNKNOWN_REVISION, ERR_POLICY_INVALID, ERR_OVERLOADED
   */
  compare(name: string, from: string, to: string): Promise<Replay> {
    const rules = this.rulesOf(name)
    for (const digest of [from, to]) this.#options.store.getRevision(name, digest)
    return this.#inLine(async () => {
      const [before, after] = [await this.#loader.stored(from), await this.#loader.stored(to)]
      return compareDecisions(name, before, after, rules, this.#gateOptions())
    })
  }

  /** @throws PdpError ERR_UNKNOWN_BUNDLE for what is no name */
  rulesOf(name: string): BundleRules {
    if (!isBundleName(name)) throw new PdpError('ERR_UNKNOWN_BUNDLE', 'a bundle is called by letters, digits, `_` and `-`, at most 64')
    return this.#options.config.bundles.find((bundle) => bundle.name === name) ?? defaultRules(name)
  }

  /** @throws PdpError as rulesOf; ERR_CONFLICT for a bundle that is not taken in */
  #rulesOfTakenIn(name: string): BundleRules {
    const rules = this.rulesOf(name)
    if (rules.path !== undefined) throw new PdpError('ERR_CONFLICT', `the bundle \`${name}\` is served from a path of the configuration`)
    return rules
  }

  async #takeIn(name: string, bundle: Bundle, rules: BundleRules, actor: string, origin: string, base?: string): Promise<Pushed> {
    const { store } = this.#options
    const { digest } = bundle
    const known = store.listRevisions(name).find((revision) => revision.digest === digest)
    const active = store.active(name)
    // A change leads back to what was there before as often as not: that is checked against what it changes now, and not passed over.
    const isBack = base !== undefined && known?.status === 'ready' && active?.digest !== digest
    // Pushed again, what waits or is ready stays as it is; its approvals hold.
    if (known !== undefined && (known.status === 'held' || known.status === 'ready') && !isBack) {
      return { revision: known, epoch: active?.digest === digest ? active.epoch : undefined }
    }
    await store.keepArchive(digest, bundle.archive)
    store.addRevision({ ...factsOf(name, bundle), origin, actor })
    const { status } = await this.#check(name, bundle, rules).catch((thrown: unknown) => {
      store.setInterrupted(name, digest, toPdpError(thrown).message)
      throw thrown
    })
    await store.sync()
    // A change is for what it was made from, and for nothing that came between.
    const isNext = status === 'ready' && rules.activation === 'auto' && (base === undefined || store.active(name)?.digest === base)
    const act = changes.has(origin) ? 'patched' : 'activated'
    const epoch = isNext ? (await this.#activateRevision(name, digest, actor, act)).epoch : undefined
    return { revision: store.getRevision(name, digest), epoch }
  }

  #gateOptions(): GateOptions {
    const { config, toolchain, recordsFolder } = this.#options
    const { evaluation } = config
    return { toolchain, runtimeJson: this.#loader.runtimeJson, limits: evaluation, trustedKey: evaluation.trustedKey, recordsFolder }
  }

  /** @throws PdpError ERR_CONFLICT for a delta of something else than what is active */
  async #changed(name: string, delta: Delta): Promise<Bundle> {
    const active = this.#options.store.active(name)?.digest
    if (active !== delta.base) {
      throw new PdpError(
        'ERR_CONFLICT',
        `the delta is for \`${delta.base.slice(0, 80)}\`, and \`${active ?? 'nothing'}\` is active of \`${name}\``,
      )
    }
    return applyDelta(await this.#loader.stored(delta.base), delta)
  }

  async #check(name: string, bundle: Bundle, rules: BundleRules): Promise<StoredRevision> {
    const { store } = this.#options
    const digest = store.active(name)?.digest
    const active = digest === undefined ? undefined : await this.#loader.stored(digest)
    const { report, module } = await runGate(name, bundle, active, rules, this.#gateOptions())
    if (module !== undefined && report.outcome !== 'rejected') this.#loader.keep(bundle, module)
    return store.setChecked(name, bundle.digest, {
      isRejected: report.outcome === 'rejected',
      neededApprovals: approvalsFor(rules, report, bundle, active),
      neededSigners: neededSigners(rules),
      report: JSON.stringify(report),
      summary: summaryOf(report),
    })
  }

  #checkReady(name: string, digest: string): void {
    const { status } = this.#options.store.getRevision(name, digest)
    if (status !== 'ready') throw new PdpError('ERR_CONFLICT', `the revision \`${digest}\` of \`${name}\` is \`${status}\`, not \`ready\``)
  }

  #activateRevision(name: string, digest: string, actor: string, act: ActName): Promise<ActiveBundle> {
    const { defaultEntrypoint } = this.rulesOf(name)
    return this.#inTurn(name, async () => {
      return this.#activate(name, await this.#loader.stored(digest), defaultEntrypoint, actor, act)
    })
  }

  /** What comes from disk is a revision like others, so that there is a way back to it. */
  async #note(name: string, bundle: Bundle): Promise<void> {
    const { store } = this.#options
    const { digest, archive } = bundle
    await store.keepArchive(digest, archive)
    if (store.active(name)?.digest === digest) return
    store.addRevision({ ...factsOf(name, bundle), origin: 'disk', actor: service })
    const nothing = { isRejected: false, neededApprovals: 0, neededSigners: 0, report: '' }
    store.setChecked(name, digest, { ...nothing, summary: 'from disk: not checked' })
  }

  /** One candidate after another, so that none is judged against what another is about to change. */
  async #inLine<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting >= maxWaiting) throw new PdpError('ERR_OVERLOADED', 'too many bundles wait for their checks: push again later')
    this.#waiting++
    const turn = this.#checks.then(task, task).finally(() => this.#waiting--)
    this.#checks = turn.catch(() => {})
    return turn
  }

  async #inTurn(name: string, task: () => Promise<ActiveBundle>): Promise<ActiveBundle> {
    const turn = this.#activations.then(task, task)
    this.#activations = turn.catch(() => {})
    try {
      const active = await turn
      this.#lastErrors.delete(name)
      return active
    } catch (thrown) {
      this.#lastErrors.set(name, toPdpError(thrown))
      throw thrown
    }
  }

  async #read(source: BundleSource): Promise<Bundle> {
    const { toolchain } = this.#options
    const info = await stat(source.path).catch((cause: Error) => {
      throw new PdpError('ERR_FILE', `the bundle \`${source.path}\` cannot be read: ${cause.message}`, { cause })
    })
    const rules = this.rulesOf(source.name)
    if (neededSigners(rules) > 1) {
      throw new PdpError('ERR_BUNDLE_SIGNATURE', `several have to sign \`${source.name}\`, which a path has no place for: push it`)
    }
    if (!info.isDirectory()) {
      const archive = await readFile(source.path)
      const files = await readArchive(archive)
      return bundleOf(archive, files, { signed: await this.#signers.verify(rules, files) })
    }
    if (rules.signature.required)
      throw new PdpError('ERR_BUNDLE_SIGNATURE', `\`${source.path}\` is a folder, and \`${source.name}\` must be signed`)
    const folder = await readFolder(source.path, toolchain)
    return readBundle(await buildBundle(folder, toolchain))
  }

  async #activate(name: string, bundle: Bundle, defaultEntrypoint: string | undefined, actor: string, act: ActName): Promise<ActiveBundle> {
    const { bundles, store } = this.#options
    const current = bundles.get(name)
    if (current?.digest === bundle.digest) return current
    const refusedFromMs = refusedFrom(this.rulesOf(name), store.getRevision(name, bundle.digest).signers)
    // What is active already stays so, and denies.
    if (Date.now() >= refusedFromMs && store.active(name)?.digest !== bundle.digest)
      throw new PdpError('ERR_BUNDLE_EXPIRED', `the signature of \`${bundle.digest}\` expired too long ago`)
    const stamp = await this.#loader.load(name, bundle, defaultEntrypoint, refusedFromMs)
    const active = stamp(store.recordActivation(name, bundle.digest, actor, act), Date.now())
    // What answers is what would answer after a crash.
    await store.sync()
    bundles.activate(active)
    current?.remote?.close()
    return active
  }

  /** Lets go of threads. */
  async close(): Promise<void> {
    await this.#checks
    await this.#loader.close()
  }
}

function factsOf(name: string, { digest, manifest, signed, archive }: Bundle) {
  return { name, digest, revision: manifest.revision, bytes: archive.length, signer: signed }
}

function neededSigners({ signature }: BundleRules): number {
  return signature.threshold > 1 ? signature.threshold : 0
}

/** What every revision needs, and what its changes of data do: granting a role is a change of data. */
function approvalsFor({ approvals, dataApprovals }: BundleRules, report: GateReport, bundle: Bundle, active: Bundle | undefined): number {
  const touched = dataApprovals.filter(({ root }) => {
    const [before, after] = [active, bundle].map((one) => one && valueAt(one.data, root.split('/')))
    return before === undefined || after === undefined ? before !== after : !isSame(before, after)
  })
  return Math.max(approvals, report.outcome === 'held' ? 1 : 0, ...touched.map(({ approvals }) => approvals))
}
