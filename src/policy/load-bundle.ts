// From a bundle's parts to one that can answer: compiled, instantiated, its data loaded, its default chosen.
import { PdpError } from '../errors.ts'
import type { ActiveBundle, Entrypoint } from './active-bundles.ts'
import type { BuiltinHost } from './builtin-host.ts'
import { cacheRuleOf, covers } from './cache-rule.ts'
import { type CandidatePaths, findCandidates } from './candidates.ts'
import { PolicyInstance } from './policy-instance.ts'
import type { PolicyLimits } from './policy-limits.ts'
import type { PolicyModule } from './policy-module.ts'
import { networkFunctions, type RemotePolicy } from './remote-policy.ts'

export interface BundleParts {
  readonly name: string
  readonly revision: string
  readonly digest: string
  readonly module: PolicyModule
  /** JSON text. */
  readonly data: string
  readonly modules: Readonly<Record<string, string>>
  /** From the configuration or the manifest's metadata. */
  readonly defaultEntrypoint: string | undefined
  /** Paths under `input` that each entrypoint reads; an entrypoint that is missing here reads everything. */
  readonly inputReads: Readonly<Record<string, readonly (readonly string[])[]>>
  /** Functions that each entrypoint can call; an entrypoint that is missing here calls all that the module has. */
  readonly functions: Readonly<Record<string, readonly string[]>>
  /** Whether each entrypoint calls functions whose answer varies; one that is missing here may. */
  readonly varying: Readonly<Record<string, boolean>>
  /** For how long decisions of each entrypoint may be given again, by its annotation. Milliseconds. */
  readonly cacheAges: Readonly<Record<string, number>>
  /** Where the data says who and what there is. */
  readonly search: CandidatePaths
  /** Milliseconds since 1970; default: never. */
  readonly refusedFromMs?: number | undefined
}

/** Puts a policy where the network is; undefined: nowhere. */
export type RemoteLoader = ((module: PolicyModule, data: string) => Promise<RemotePolicy>) | undefined

/**
 * @param trustedKey the key of `input` under which the service puts what it established itself
 * @param options.printer where print() and trace() go; default nowhere
 * @param options.remote loads policies that use the network; default: they run here, without one
 * @returns a function that stamps the epoch, so that a bundle which fails to load uses none up
 * @throws PdpError ERR_POLICY_INVALID, ERR_BUILTIN_MISSING, ERR_UNKNOWN_ENTRYPOINT (the default), ERR_MEMORY_EXHAUSTED
 */
export async function loadBundle(
  parts: BundleParts,
  host: BuiltinHost,
  limits: PolicyLimits,
  trustedKey: string,
  options: { readonly printer?: ((text: string) => void) | undefined; readonly remote?: RemoteLoader } = {},
): Promise<(epoch: number, nowMs: number) => ActiveBundle> {
  const { module } = parts
  const instance = new PolicyInstance(module, parts.data, host, limits, options.printer)
  const usesNetwork = [...networkFunctions].some((name) => instance.builtins.has(name))
  const remote = usesNetwork ? await options.remote?.(module, parts.data) : undefined
  const { name, revision, digest } = parts
  const paths = [...instance.entrypoints.keys()]
  // Rules for the log are asked by the service alone.
  const forCallers = paths.filter((path) => !path.startsWith('system/log/'))
  const defaultPath = parts.defaultEntrypoint ?? (forCallers.length === 1 ? forCallers[0] : undefined)
  if (defaultPath !== undefined && !instance.entrypoints.has(defaultPath)) {
    throw new PdpError(
      'ERR_UNKNOWN_ENTRYPOINT',
      `the default entrypoint \`${defaultPath}\` of bundle \`${name}\` does not exist; there are: ${paths.map((p) => `\`${p}\``).join(', ')}`,
    )
  }
  const cacheRules = new Map(
    paths.map((path) => {
      const facts = {
        bundle: name,
        path,
        inputReads: parts.inputReads[path],
        varies: parts.varying[path] ?? true,
        declaredMs: parts.cacheAges[path],
      }
      return [path, cacheRuleOf(facts, trustedKey)]
    }),
  )
  return (epoch, nowMs) => {
    const entrypoints = new Map<string, Entrypoint>()
    for (const [path, id] of instance.entrypoints) {
      entrypoints.set(path, {
        id,
        identity: { bundle: name, entrypoint: path, revision, digest, epoch },
        usesNetwork: usesNetwork && (parts.functions[path] ?? [...networkFunctions]).some((name) => networkFunctions.has(name)),
        readsTrusted: covers(parts.inputReads[path], [trustedKey]),
        readsTime: covers(parts.inputReads[path], [trustedKey, 'time']),
        cache: cacheRules.get(path),
      })
    }
    return {
      name,
      revision,
      digest,
      epoch,
      activatedAtMs: nowMs,
      instance,
      remote,
      entrypoints,
      defaultEntrypoint: defaultPath === undefined ? undefined : entrypoints.get(defaultPath),
      modules: parts.modules,
      data: parts.data,
      refusedFromMs: parts.refusedFromMs ?? Number.POSITIVE_INFINITY,
      candidates: findCandidates(parts.data, parts.search),
    }
  }
}
