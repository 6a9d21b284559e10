// How a bundle comes to answer: read or compiled, loaded beside the active one, counted, swapped in.
// One activation at a time; a candidate that fails leaves everything as it was.
import { readFile, stat } from 'node:fs/promises'
import { buildBundle } from './bundles/build-bundle.ts'
import type { Bundle } from './bundles/bundle.ts'
import { readFolder } from './bundles/folder.ts'
import { readBundle } from './bundles/read-bundle.ts'
import type { Config } from './config.ts'
import { PdpError, toPdpError } from './errors.ts'
import { EvaluationWorkers } from './evaluation-workers.ts'
import type { ActiveBundle, ActiveBundles } from './policy/active-bundles.ts'
import { loadBundle } from './policy/load-bundle.ts'
import { createReactorHost, type ReactorHost } from './rego/reactor-host.ts'
import type { Toolchain } from './rego/toolchain.ts'
import type { StateFolder } from './state/state-folder.ts'
import { version } from './version.ts'

export type BundleSource = Config['bundles'][number]

export class BundleLifecycle {
  readonly #config: Config
  readonly #toolchain: Toolchain
  readonly #state: StateFolder
  readonly #bundles: ActiveBundles
  readonly #printer: ((text: string) => void) | undefined
  /** What opa.runtime() answers. */
  readonly #runtimeJson: string
  readonly #workers: EvaluationWorkers
  readonly #lastErrors = new Map<string, PdpError>()
  #host: Promise<ReactorHost> | undefined
  #queue: Promise<unknown> = Promise.resolve()

  /** @param printer where print() and trace() of policies go */
  constructor(config: Config, toolchain: Toolchain, state: StateFolder, bundles: ActiveBundles, printer?: (text: string) => void) {
    this.#printer = printer
    this.#config = config
    this.#runtimeJson = JSON.stringify({ version, config: { labels: config.labels }, env: {} })
    this.#workers = new EvaluationWorkers(config.evaluation, toolchain, this.#runtimeJson)
    this.#toolchain = toolchain
    this.#state = state
    this.#bundles = bundles
  }

  /** Why the newest candidate of a bundle was not activated; undefined when it was. */
  lastError(name: string): PdpError | undefined {
    return this.#lastErrors.get(name)
  }

  /**
   * Reads or compiles a source and activates it. The same archive as the active one changes nothing.
   * @throws PdpError of whatever failed; the active bundle goes on answering
   */
  activateSource(source: BundleSource): Promise<ActiveBundle> {
    return this.#inTurn(source.name, async () => this.#activate(source.name, await this.#read(source), source.defaultEntrypoint))
  }

  /** Activates what the state folder kept of a bundle from an earlier run. */
  activateStored(name: string, digest: string): Promise<ActiveBundle> {
    return this.#inTurn(name, async () => this.#activate(name, await readBundle(this.#state.readArchive(digest)), undefined))
  }

  async #inTurn(name: string, task: () => Promise<ActiveBundle>): Promise<ActiveBundle> {
    const turn = this.#queue.then(task, task)
    this.#queue = turn.catch(() => {})
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
    const info = await stat(source.path).catch((cause: Error) => {
      throw new PdpError('ERR_FILE', `the bundle \`${source.path}\` cannot be read: ${cause.message}`, { cause })
    })
    if (!info.isDirectory()) return readBundle(await readFile(source.path))
    const folder = await readFolder(source.path, this.#toolchain)
    return readBundle(await buildBundle(folder, this.#toolchain))
  }

  async #activate(name: string, bundle: Bundle, defaultEntrypoint: string | undefined): Promise<ActiveBundle> {
    const current = this.#bundles.get(name)
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
        wasm: bundle.wasm,
        data: bundle.data,
        modules: bundle.modules,
        defaultEntrypoint: defaultEntrypoint ?? manifest.metadata.default_entrypoint,
        inputReads,
        functions,
        search: manifest.metadata.search ?? {},
      },
      await this.#builtinHost(),
      this.#config.evaluation,
      this.#config.evaluation.trustedKey,
      { printer: this.#printer, remote: this.#workers.configured ? (module, data) => this.#workers.load(module, data) : undefined },
    )
    const active = stamp(this.#state.recordActivation(name, bundle.digest, bundle.archive), Date.now())
    this.#bundles.activate(active)
    current?.remote?.close()
    return active
  }

  #builtinHost(): Promise<ReactorHost> {
    this.#host ??= createReactorHost(this.#toolchain, this.#runtimeJson)
    return this.#host
  }

  /** Lets go of threads. */
  async close(): Promise<void> {
    await this.#workers.close()
  }
}
