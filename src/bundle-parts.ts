// What of a bundle the engine is to know, from what the archive holds: the seam between src/bundles/, which reads archives, and
// src/policy/, which runs them.
import { type Bundle, cacheAgesOf } from './bundles/bundle.ts'
import type { BundleParts } from './policy/load-bundle.ts'
import type { PolicyModule } from './policy/policy-module.ts'

/**
 * @param defaultEntrypoint by the configuration; undefined: by the manifest
 * @param refusedFromMs from when on it does not answer any longer. Milliseconds since 1970
 */
export function partsOf(
  name: string,
  { digest, manifest, data, modules }: Bundle,
  module: PolicyModule,
  defaultEntrypoint: string | undefined,
  refusedFromMs: number,
): BundleParts {
  const reads = Object.entries(manifest.metadata.verdict?.reads ?? {})
  return {
    name,
    revision: manifest.revision,
    digest,
    module,
    data,
    modules,
    defaultEntrypoint: defaultEntrypoint ?? manifest.metadata.default_entrypoint,
    inputReads: Object.fromEntries(reads.map(([path, { input }]) => [path, input])),
    functions: Object.fromEntries(reads.map(([path, { builtins }]) => [path, builtins])),
    varying: Object.fromEntries(reads.map(([path, { nondeterministic }]) => [path, nondeterministic.length > 0])),
    cacheAges: cacheAgesOf(manifest),
    search: manifest.metadata.search ?? {},
    refusedFromMs,
  }
}
