// Copies of the service's bundles that answer in this process: got when the service tells of a new epoch, verified, loaded beside the
// one that answers, swapped in. One that cannot be had leaves the one before, and the service is asked before long.

import { partsOf } from '../bundle-parts.ts'
import type { BundleSigners } from '../bundle-signers.ts'
import { refusedFrom } from '../bundle-signers.ts'
import { readArchive } from '../bundles/archive.ts'
import { bundleOf } from '../bundles/read-bundle.ts'
import { growingPauseMs } from '../client/growing-pause.ts'
import type { Way } from '../client/way.ts'
import type { BundleRules } from '../config.ts'
import { PdpError, toPdpError } from '../errors.ts'
import type { ActiveBundle, ActiveBundles } from '../policy/active-bundles.ts'
import { loadBundle } from '../policy/load-bundle.ts'
import { compilePolicyModule } from '../policy/policy-module.ts'
import { networkFunctions } from '../policy/remote-policy.ts'
import type { ReactorHost } from '../rego/reactor-host.ts'
import type { Toolchain } from '../rego/toolchain.ts'
import type { ServiceFacts, ServiceRules } from './service-facts.ts'

export interface CopyOptions {
  readonly way: Way
  readonly facts: ServiceFacts
  readonly signers: BundleSigners
  readonly toolchain: Toolchain
  readonly host: ReactorHost
  readonly onError: (error: PdpError) => void
}

/** A loaded bundle whose epoch is stamped when it is swapped in. */
interface Loaded {
  readonly etag: string
  /** It was loaded for these rules. */
  readonly rules: ServiceRules
  readonly stamp: (epoch: number, nowMs: number) => ActiveBundle
  readonly refusedFromMs: number
  /** Entrypoints that can be evaluated here. */
  readonly local: ReadonlySet<string>
}

/** Functions whose answers are the service's own. */
const ofService: ReadonlySet<string> = new Set([...networkFunctions, 'opa.runtime'])
const [minDelayMs, maxDelayMs] = [100, 10_000]
const downloadTimeoutMs = 60_000

export class BundleCopy {
  readonly name: string
  readonly #rules: BundleRules
  readonly #bundles: ActiveBundles
  readonly #options: CopyOptions
  #loaded: Loaded | undefined
  #refreshing: Promise<void> | undefined
  #isStale = false
  #isClosed = false

  constructor(rules: BundleRules, bundles: ActiveBundles, options: CopyOptions) {
    this.name = rules.name
    this.#rules = rules
    this.#bundles = bundles
    this.#options = options
  }

  /** Whether an entrypoint is one that can be evaluated here. */
  isLocal(entrypoint: string, rules: ServiceRules): boolean {
    return this.#loaded?.rules === rules && this.#loaded.local.has(entrypoint)
  }

  /** Gets what the service has, if that is something else; resolves when it answers, or cannot be had for now. */
  refresh(): Promise<void> {
    this.#isStale = true
    this.#refreshing ??= this.#refresh()
    return this.#refreshing
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    for (let failures = 0; this.#isStale && !this.#isClosed; ) {
      this.#isStale = false
      try {
        await this.#get()
        failures = 0
      } catch (thrown) {
        if (this.#isClosed) break
        this.#isStale = true
        if (failures++ === 0) this.#options.onError(toPdpError(thrown))
        const ms = growingPauseMs(failures, minDelayMs, maxDelayMs)
        await new Promise<void>((resolve) => setTimeout(resolve, ms).unref())
        // Without anything that is known there is nothing to get: the next news begin anew.
        if (this.#options.facts.rules === undefined) break
      }
    }
    this.#refreshing = undefined
  }

  async #get(): Promise<void> {
    const { way, facts } = this.#options
    const { name } = this
    const { rules } = facts
    if (rules === undefined || facts.announced(name) === undefined) return
    const known = this.#loaded?.rules === rules ? this.#loaded : undefined
    const response = await way.fetch(`/v1/bundles/${name}/archive`, {
      headers: known === undefined ? {} : { 'if-none-match': known.etag },
      signal: AbortSignal.timeout(downloadTimeoutMs),
    })
    const epoch = Number(response.headers.get('verdict-epoch'))
    const etag = response.headers.get('etag') ?? ''
    if (response.status === 304 && known !== undefined) {
      this.#swapIn(known, epoch)
      return
    }
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new PdpError('ERR_FILE', `the bundle \`${name}\` cannot be had from the service: the status is ${response.status}`)
    }
    const entrypoint = response.headers.get('verdict-default-entrypoint')
    const archive = Buffer.from(await response.arrayBuffer())
    this.#loaded = await this.#load(archive, etag, rules, entrypoint === null ? undefined : decodeURIComponent(entrypoint))
    this.#swapIn(this.#loaded, epoch)
  }

  /** @throws PdpError ERR_BUNDLE_SIGNATURE and others of what is no bundle */
  async #load(archive: Buffer, etag: string, rules: ServiceRules, defaultEntrypoint: string | undefined): Promise<Loaded> {
    const { signers, toolchain, host } = this.#options
    const files = await readArchive(archive)
    const signed = await signers.verify(this.#rules, files)
    const bundle = await bundleOf(archive, files, { compiler: toolchain, signed })
    if (etag !== `"${bundle.digest}"`) throw new PdpError('ERR_BUNDLE_INVALID', 'what came is not the bundle that the service names')
    const refusedFromMs = refusedFrom(this.#rules, signed === undefined ? [] : [signed])
    const module = await compilePolicyModule(bundle.wasm)
    const parts = partsOf(this.name, bundle, module, defaultEntrypoint, refusedFromMs)
    const stamp = await loadBundle(parts, host, rules, rules.trustedKey)
    const { instance } = stamp(1, 0)
    const callsService = (path: string) => (parts.functions[path] ?? [...instance.builtins]).some((name) => ofService.has(name))
    const local = new Set([...instance.entrypoints.keys()].filter((path) => !callsService(path)))
    return { etag, rules, stamp, refusedFromMs, local }
  }

  #swapIn(loaded: Loaded, epoch: number): void {
    if (!Number.isSafeInteger(epoch) || epoch < 1)
      throw new PdpError('ERR_FILE', `the service does not say which epoch of \`${this.name}\` answers`)
    const current = this.#bundles.get(this.name)
    if (
      current?.epoch === epoch &&
      `"${current.digest}"` === loaded.etag &&
      loaded === this.#loaded &&
      current.refusedFromMs === loaded.refusedFromMs
    )
      return
    this.#bundles.activate(loaded.stamp(epoch, Date.now()))
  }
}
