// The bundles that answer now, by name. A swap replaces one reference between two requests, so a request sees one
// bundle whole: the old one or the new one.
import type { Candidates } from '../decision/candidates.ts'
import type { PolicyIdentity } from '../decision/decision.ts'
import { PdpError } from '../errors.ts'
import type { CacheRule } from './cache-rule.ts'
import type { PolicyInstance } from './policy-instance.ts'
import type { RemotePolicy } from './remote-policy.ts'

/** What the policy says of one entrypoint. */
export interface Entrypoint {
  readonly id: number
  readonly identity: PolicyIdentity
  /** Whether anything under `input.trusted` can be read; true where nothing is known. */
  readonly readsTrusted: boolean
  /** Whether `input.trusted.time` can be read; true where nothing is known. */
  readonly readsTime: boolean
  /** Whether it can call a function of the network; true where nothing is known. */
  readonly usesNetwork: boolean
  /** Undefined: its decisions are not given again. */
  readonly cache: CacheRule | undefined
}

/** A bundle that runs. Immutable: a change makes a new one. */
export interface ActiveBundle {
  readonly name: string
  readonly revision: string
  readonly digest: string
  readonly epoch: number
  readonly activatedAtMs: number
  readonly instance: PolicyInstance
  /** Where entrypoints that use the network are evaluated; undefined: like all others, and the network fails. */
  readonly remote: RemotePolicy | undefined
  readonly entrypoints: ReadonlyMap<string, Entrypoint>
  /** Undefined: a request must name one. */
  readonly defaultEntrypoint: Entrypoint | undefined
  /** Rego modules by path; empty when the archive brought none. */
  readonly modules: Readonly<Record<string, string>>
  /** JSON text. */
  readonly data: string
  /** From when on it does not answer any longer, as its signature has expired; Infinity: never. Milliseconds since 1970. */
  readonly refusedFromMs: number
  /** Who and what there is, as the bundle declares it for searches. */
  readonly candidates: Candidates
}

const noCandidates: Candidates = { kinds: new Set(), of: () => [] }

export class ActiveBundles {
  readonly #byName = new Map<string, ActiveBundle>()
  #only: ActiveBundle | undefined
  #onActivated: (bundle: ActiveBundle) => void = () => {}

  activate(bundle: ActiveBundle): void {
    this.#byName.set(bundle.name, bundle)
    this.#only = this.#byName.size === 1 ? bundle : undefined
    this.#onActivated(bundle)
  }

  /** @param listener told of each epoch, as soon as it answers */
  onActivated(listener: (bundle: ActiveBundle) => void): void {
    this.#onActivated = listener
  }

  list(): ActiveBundle[] {
    return [...this.#byName.values()]
  }

  get(name: string): ActiveBundle | undefined {
    return this.#byName.get(name)
  }

  /** Those of the bundle that a request gets when it names none. */
  candidates(): Candidates {
    return (this.#only ?? this.#byName.get('main'))?.candidates ?? noCandidates
  }

  /** Whether the bundle that a request gets when it names none has this entrypoint. */
  hasEntrypoint(path: string): boolean {
    return (this.#only ?? this.#byName.get('main'))?.entrypoints.has(path) === true
  }

  /**
   * @param name undefined: the only bundle, or the one called `main`
   * @throws PdpError ERR_NO_BUNDLE, ERR_UNKNOWN_BUNDLE
   */
  resolve(name: string | undefined): ActiveBundle {
    const found = name === undefined ? (this.#only ?? this.#byName.get('main')) : this.#byName.get(name)
    if (found !== undefined) return found
    if (this.#byName.size === 0) throw new PdpError('ERR_NO_BUNDLE', 'no bundle is active yet')
    if (name === undefined) throw new PdpError('ERR_UNKNOWN_BUNDLE', 'several bundles are active: name one in `policy`')
    throw new PdpError('ERR_UNKNOWN_BUNDLE', `no bundle is called \`${name}\``)
  }
}

/** @throws PdpError ERR_UNKNOWN_ENTRYPOINT, ERR_ENTRYPOINT_REQUIRED */
export function resolveEntrypoint(bundle: ActiveBundle, path: string | undefined): Entrypoint {
  if (path === undefined) {
    if (bundle.defaultEntrypoint !== undefined) return bundle.defaultEntrypoint
    throw new PdpError(
      'ERR_ENTRYPOINT_REQUIRED',
      `the bundle \`${bundle.name}\` has several entrypoints and no default: name one in \`policy\``,
    )
  }
  const found = bundle.entrypoints.get(path)
  if (found === undefined)
    throw new PdpError('ERR_UNKNOWN_ENTRYPOINT', `the bundle \`${bundle.name}\` has no entrypoint \`${path.slice(0, 128)}\``)
  return found
}
