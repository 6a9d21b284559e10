// How a bundle comes to answer: read or compiled, checked by the gate, approved, loaded beside the active one, counted, swapped
// in. One check and one activation at a time; a candidate that fails leaves everything as it was. Who may do what is decided
// before; that nobody approves what they pushed is decided by the store.
import { readFileSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { buildBundle, withData } from './bundles/build-bundle.ts'
import type { Bundle } from './bundles/bundle.ts'
import { readFolder } from './bundles/folder.ts'
import { type GateReport, summaryOf } from './bundles/gate-report.ts'
import { applyPatch, type PatchOperation } from './bundles/json-patch.ts'
import { readBundle } from './bundles/read-bundle.ts'
import { parseKey, type Signed, type SigningAlgorithm, type VerificationKey, verifySignatures } from './bundles/signatures.ts'
import { type BundleRules, type Config, defaultRules, isBundleName } from './config.ts'
import { PdpError, toPdpError } from './errors.ts'
import { EvaluationWorkers } from './evaluation-workers.ts'
import { runGate } from './gate.ts'
import type { ActiveBundle, ActiveBundles } from './policy/active-bundles.ts'
import { loadBundle } from './policy/load-bundle.ts'
import { PolicyInstance } from './policy/policy-instance.ts'
import { compilePolicyModule, type PolicyModule } from './policy/policy-module.ts'
import { Shadow, type Shadows } from './policy/shadowed.ts'
import { createReactorHost, type ReactorHost } from './rego/reactor-host.ts'
import type { Toolchain } from './rego/toolchain.ts'
import type { ActName, BundleStore, StoredRevision } from './state/bundle-store.ts'
import { version } from './version.ts'

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
/** Candidates that may wait for the gate. */
const maxWaiting = 8
/** Bundles that stay compiled, the latest; those with more data than this many characters are read again. */
const maxLoaded = 4
const maxLoadedLength = 4_000_000

export class BundleLifecycle {
  readonly #options: LifecycleOptions
  /** What opa.runtime() answers. */
  readonly #runtimeJson: string
  readonly #workers: EvaluationWorkers
  readonly #keys: readonly VerificationKey[]
  readonly #loaded = new Map<string, { readonly bundle: Bundle; readonly module: PolicyModule }>()
  readonly #lastErrors = new Map<string, PdpError>()
  #host: Promise<ReactorHost> | undefined
  #activations: Promise<unknown> = Promise.resolve()
  #checks: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(options: LifecycleOptions) {
    const { config, toolchain } = options
    this.#options = options
    this.#runtimeJson = JSON.stringify({ version, config: { labels: config.labels }, env: {} })
    this.#workers = new EvaluationWorkers(config.evaluation, toolchain, this.#runtimeJson)
    this.#keys = config.keys.map(({ id, algorithm, file }) => ({ id, algorithm, key: readKey(file, algorithm, `keys.${id}`) }))
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
   * Takes a bundle in: kept, checked, and activated where it may be.
   * @param actor who pushed it
   * @throws PdpError as readBundle; ERR_BUNDLE_SIGNATURE, ERR_BUNDLE_ROLLBACK; ERR_UNKNOWN_BUNDLE for what is no name; ERR_CONFLICT; ERR_OVERLOADED
   */
  async push(name: string, archive: Buffer, actor: string, origin: 'push' | 'pull' = 'push'): Promise<Pushed> {
    const { store, toolchain } = this.#options
    const rules = this.#rulesOfTakenIn(name)
    return this.#inLine(async () => {
      const bundle = await readBundle(archive, { compiler: toolchain, verify: this.#verifier(rules) })
      const { digest, manifest } = bundle
      const same = store
        .listRevisions(name)
        .find((one) => one.revision !== '' && one.revision === manifest.revision && one.origin !== 'patch')
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
      const base = await this.#stored(active.digest)
      const bundle = await readBundle(await withData(base.archive, applyPatch(base.data, operations)))
      return this.#takeIn(name, bundle, rules, actor, 'patch', active.digest)
    })
  }

  /**
   * Approves a revision, and activates it when that was the last approval and nothing else is configured.
   * @throws PdpError as BundleStore.approve
   */
  async approve(name: string, digest: string, actor: string): Promise<void> {
    const { status } = this.#options.store.approve(name, digest, actor)
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
    const { store, shadows, config, printer } = this.#options
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
    const bundle = await this.#stored(digest)
    const instance = new PolicyInstance(await this.#compiled(bundle), bundle.data, await this.#builtinHost(), config.evaluation, printer)
    shadows.set(name, new Shadow(digest, instance, config.evaluation.trustedKey, Date.now()))
    store.note(actor, 'shadow_started', name, digest)
    return store.sync()
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
    // Pushed again, what waits or is ready stays as it is; its approvals hold.
    if (known !== undefined && (known.status === 'held' || known.status === 'ready')) {
      const active = store.active(name)
      return { revision: known, epoch: active?.digest === digest ? active.epoch : undefined }
    }
    await store.keepArchive(digest, bundle.archive)
    store.addRevision({ ...factsOf(name, bundle), origin, actor })
    const report = await this.#check(name, bundle, rules)
    const needed = Math.max(rules.approvals, report.outcome === 'held' ? 1 : 0)
    const status = report.outcome === 'rejected' ? 'rejected' : needed > 0 ? 'held' : 'ready'
    store.setChecked(name, digest, status, needed, JSON.stringify(report), summaryOf(report))
    await store.sync()
    // A change is for what it was made from, and for nothing that came between.
    const isNext = status === 'ready' && rules.activation === 'auto' && (base === undefined || store.active(name)?.digest === base)
    const act = origin === 'patch' ? 'patched' : 'activated'
    const epoch = isNext ? (await this.#activateRevision(name, digest, actor, act)).epoch : undefined
    return { revision: store.getRevision(name, digest), epoch }
  }

  async #check(name: string, bundle: Bundle, rules: BundleRules): Promise<GateReport> {
    const { config, toolchain, store, recordsFolder } = this.#options
    const active = store.active(name)
    const { report, module } = await runGate(name, bundle, active && (await this.#stored(active.digest)), rules, {
      toolchain,
      runtimeJson: this.#runtimeJson,
      limits: config.evaluation,
      trustedKey: config.evaluation.trustedKey,
      recordsFolder,
    })
    if (module !== undefined && report.outcome !== 'rejected') this.#keepLoaded(bundle, module)
    return report
  }

  /** Compiling takes the serving thread's time: it is not done again for what was checked or active a little while ago. */
  async #compiled(bundle: Bundle): Promise<PolicyModule> {
    const module = this.#loaded.get(bundle.digest)?.module ?? (await compilePolicyModule(bundle.wasm))
    this.#keepLoaded(bundle, module)
    return module
  }

  /** A bundle that was taken in. */
  async #stored(digest: string): Promise<Bundle> {
    return this.#loaded.get(digest)?.bundle ?? readBundle(this.#options.store.readArchive(digest))
  }

  #keepLoaded(bundle: Bundle, module: PolicyModule): void {
    if (bundle.data.length > maxLoadedLength) return
    this.#loaded.delete(bundle.digest)
    this.#loaded.set(bundle.digest, { bundle, module })
    const [oldest] = this.#loaded.keys()
    if (this.#loaded.size > maxLoaded && oldest !== undefined) this.#loaded.delete(oldest)
  }

  /** Who may have signed a bundle. */
  #verifier({ name, signature }: BundleRules) {
    const keys = this.#keys.filter(({ id }) => signature.keys?.includes(id) ?? true)
    return async (files: ReadonlyMap<string, Uint8Array>): Promise<Signed | undefined> => {
      const signed = await verifySignatures(files, name, { ...signature, scope: signature.scope, keys }, Date.now())
      if (signed === undefined && signature.required) throw new PdpError('ERR_BUNDLE_SIGNATURE', 'the bundle is not signed, and must be')
      return signed
    }
  }

  #checkReady(name: string, digest: string): void {
    const { status } = this.#options.store.getRevision(name, digest)
    if (status !== 'ready') throw new PdpError('ERR_CONFLICT', `the revision \`${digest}\` of \`${name}\` is \`${status}\`, not \`ready\``)
  }

  #activateRevision(name: string, digest: string, actor: string, act: ActName): Promise<ActiveBundle> {
    const { defaultEntrypoint } = this.rulesOf(name)
    return this.#inTurn(name, async () => {
      return this.#activate(name, await this.#stored(digest), defaultEntrypoint, actor, act)
    })
  }

  /** What comes from disk is a revision like others, so that there is a way back to it. */
  async #note(name: string, bundle: Bundle): Promise<void> {
    const { store } = this.#options
    const { digest, archive } = bundle
    await store.keepArchive(digest, archive)
    if (store.active(name)?.digest === digest) return
    store.addRevision({ ...factsOf(name, bundle), origin: 'disk', actor: service })
    store.setChecked(name, digest, 'ready', 0, '', 'from disk: not checked')
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
    if (!info.isDirectory()) return readBundle(await readFile(source.path), { verify: this.#verifier(rules) })
    if (rules.signature.required)
      throw new PdpError('ERR_BUNDLE_SIGNATURE', `\`${source.path}\` is a folder, and \`${source.name}\` must be signed`)
    const folder = await readFolder(source.path, toolchain)
    return readBundle(await buildBundle(folder, toolchain))
  }

  async #activate(name: string, bundle: Bundle, defaultEntrypoint: string | undefined, actor: string, act: ActName): Promise<ActiveBundle> {
    const { bundles, config, printer, store } = this.#options
    const current = bundles.get(name)
    if (current?.digest === bundle.digest) return current
    const { manifest } = bundle
    const reads = Object.entries(manifest.metadata.verdict?.reads ?? {})
    const inputReads = Object.fromEntries(reads.map(([path, { input }]) => [path, input]))
    const functions = Object.fromEntries(reads.map(([path, { builtins }]) => [path, builtins]))
    const stamp = await loadBundle(
      {
        name,
        revision: manifest.revision,
        digest: bundle.digest,
        module: await this.#compiled(bundle),
        data: bundle.data,
        modules: bundle.modules,
        defaultEntrypoint: defaultEntrypoint ?? manifest.metadata.default_entrypoint,
        inputReads,
        functions,
        search: manifest.metadata.search ?? {},
      },
      await this.#builtinHost(),
      config.evaluation,
      config.evaluation.trustedKey,
      { printer, remote: this.#workers.configured ? (module, data) => this.#workers.load(module, data) : undefined },
    )
    const active = stamp(store.recordActivation(name, bundle.digest, actor, act), Date.now())
    // What answers is what would answer after a crash.
    await store.sync()
    bundles.activate(active)
    current?.remote?.close()
    return active
  }

  #builtinHost(): Promise<ReactorHost> {
    this.#host ??= createReactorHost(this.#options.toolchain, this.#runtimeJson)
    return this.#host
  }

  /** Lets go of threads. */
  async close(): Promise<void> {
    await this.#checks
    await this.#workers.close()
  }
}

function factsOf(name: string, { digest, manifest, signed, archive }: Bundle) {
  return {
    name,
    digest,
    revision: manifest.revision,
    bytes: archive.length,
    ...(signed !== undefined && { signed: JSON.stringify(signed), sequence: signed.sequence }),
  }
}

/** @throws PdpError ERR_CONFIG_INVALID */
function readKey(file: string, algorithm: SigningAlgorithm, where: string): VerificationKey['key'] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `${where}: \`${file}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
  return parseKey(text, algorithm, 'public', where)
}
