// From a stored bundle to one that can answer: read back from the store, compiled, loaded beside what is active. Not when that
// may happen, nor what it is recorded as: src/bundle-lifecycle.ts.
import { partsOf } from './bundle-parts.ts'
import type { Bundle } from './bundles/bundle.ts'
import { readBundle } from './bundles/read-bundle.ts'
import type { Config } from './config.ts'
import { EvaluationWorkers } from './evaluation-workers.ts'
import type { ActiveBundle } from './policy/active-bundles.ts'
import { loadBundle } from './policy/load-bundle.ts'
import { PolicyInstance } from './policy/policy-instance.ts'
import { compilePolicyModule, type PolicyModule } from './policy/policy-module.ts'
import { createReactorHost, type ReactorHost } from './rego/reactor-host.ts'
import type { Toolchain } from './rego/toolchain.ts'
import type { BundleStore } from './state/bundle-store.ts'
import { version } from './version.ts'

/** Bundles that stay compiled, the latest; those with more data than this many characters are read again. */
const maxLoaded = 4
const maxLoadedLength = 4_000_000

export class BundleLoader {
  /** What opa.runtime() answers. */
  readonly runtimeJson: string
  readonly #config: Config
  readonly #toolchain: Toolchain
  readonly #store: BundleStore
  readonly #printer: ((text: string) => void) | undefined
  readonly #workers: EvaluationWorkers
  readonly #loaded = new Map<string, { readonly bundle: Bundle; readonly module: PolicyModule }>()
  #host: Promise<ReactorHost> | undefined

  /** @param printer where print() and trace() of policies go; undefined: nowhere */
  constructor(config: Config, toolchain: Toolchain, store: BundleStore, printer: ((text: string) => void) | undefined) {
    this.runtimeJson = JSON.stringify({ version, config: { labels: config.labels }, env: {} })
    this.#config = config
    this.#toolchain = toolchain
    this.#store = store
    this.#printer = printer
    this.#workers = new EvaluationWorkers(config.evaluation, toolchain, this.runtimeJson)
  }

  /** A bundle that was taken in. @throws PdpError ERR_STATE_UNUSABLE when its archive is gone */
  async stored(digest: string): Promise<Bundle> {
    return this.#loaded.get(digest)?.bundle ?? readBundle(this.#store.readArchive(digest))
  }

  /** Notes that a bundle is compiled already. Compiling takes the serving thread's time: it is not done again for what is noted. */
  keep(bundle: Bundle, module: PolicyModule): void {
    if (bundle.data.length > maxLoadedLength) return
    this.#loaded.delete(bundle.digest)
    this.#loaded.set(bundle.digest, { bundle, module })
    const [oldest] = this.#loaded.keys()
    if (this.#loaded.size > maxLoaded && oldest !== undefined) this.#loaded.delete(oldest)
  }

  /** A stored bundle as something that can be asked, and no more. */
  async instance(digest: string): Promise<PolicyInstance> {
    const bundle = await this.stored(digest)
    const host = await this.#builtinHost()
    return new PolicyInstance(await this.#compiled(bundle), bundle.data, host, this.#config.evaluation, this.#printer)
  }

  /**
   * Loads a bundle; it takes effect when it is put among the active ones.
   * @returns a function that stamps its epoch
   * @throws PdpError as loadBundle
   */
  async load(
    name: string,
    bundle: Bundle,
    defaultEntrypoint: string | undefined,
    refusedFromMs: number,
  ): Promise<(epoch: number, nowMs: number) => ActiveBundle> {
    const { evaluation } = this.#config
    return loadBundle(
      partsOf(name, bundle, await this.#compiled(bundle), defaultEntrypoint, refusedFromMs),
      await this.#builtinHost(),
      evaluation,
      evaluation.trustedKey,
      {
        printer: this.#printer,
        remote: this.#workers.configured ? (module, data) => this.#workers.load(module, data) : undefined,
      },
    )
  }

  async #compiled(bundle: Bundle): Promise<PolicyModule> {
    const module = this.#loaded.get(bundle.digest)?.module ?? (await compilePolicyModule(bundle.wasm))
    this.keep(bundle, module)
    return module
  }

  #builtinHost(): Promise<ReactorHost> {
    this.#host ??= createReactorHost(this.#toolchain, this.runtimeJson)
    return this.#host
  }

  /** Lets go of threads. */
  close(): Promise<void> {
    return this.#workers.close()
  }
}
