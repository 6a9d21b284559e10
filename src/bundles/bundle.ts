// An OPA bundle in memory: what an archive holds, checked and put in order. Not yet a running policy.
// @see https://www.openpolicyagent.org/docs/management-bundles#bundle-file-format
import { z } from 'zod'
import { PdpError } from '../errors.ts'
import type { Signed } from './signatures.ts'

/** What an entrypoint reads, see src/rego/toolchain.ts. Kept in the manifest's metadata under `verdict`. */
const readsSchema = z.object({
  input: z.array(z.array(z.string())),
  data: z.array(z.array(z.string())),
  builtins: z.array(z.string()),
  nondeterministic: z.array(z.string()),
})

/** Where the data holds who and what there is, by type: paths such as `rbac/users`. For actions the type is the resource's; `*`: any. */
const candidatesSchema = z.record(z.string().min(1), z.string().regex(/^[^/]+(?:\/[^/]+)*$/, 'a path such as `rbac/users`'))

const manifestSchema = z.looseObject({
  revision: z.string().default(''),
  roots: z.array(z.string()).optional(),
  rego_version: z.union([z.literal(0), z.literal(1)]).optional(),
  wasm: z.array(z.looseObject({ entrypoint: z.string(), module: z.string().optional(), annotations: z.unknown().optional() })).default([]),
  metadata: z
    .looseObject({
      default_entrypoint: z.string().optional(),
      base: z.string().optional(),
      search: z
        .object({ subject: candidatesSchema.default({}), resource: candidatesSchema.default({}), action: candidatesSchema.default({}) })
        .partial()
        .optional(),
      verdict: z.looseObject({ reads: z.record(z.string(), readsSchema).default({}) }).optional(),
    })
    .default({}),
})

export type BundleManifest = z.infer<typeof manifestSchema>
export type EntrypointReads = z.infer<typeof readsSchema>

export interface Bundle {
  /** SHA-256 of the archive: `sha256:` and 64 hexadecimal digits. */
  readonly digest: string
  readonly manifest: BundleManifest
  readonly wasm: Uint8Array
  /** JSON text of the whole data document. */
  readonly data: string
  /** Rego modules by path; what `explain` and tests read. May be empty. */
  readonly modules: Readonly<Record<string, string>>
  /** JSON Schema of `input` as JSON text, from `input.schema.json`. */
  readonly inputSchema: string | undefined
  /** Questions with the answers that they must get, as JSON text, from `decisions.json`. */
  readonly vectors: string | undefined
  /** Who signed it; undefined: nobody, or nobody looked. */
  readonly signed: Signed | undefined
  /** The archive itself. */
  readonly archive: Buffer
}

/** @throws PdpError ERR_BUNDLE_INVALID */
export function parseManifest(text: string): BundleManifest {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new PdpError('ERR_BUNDLE_INVALID', '.manifest is not JSON', { cause })
  }
  const parsed = manifestSchema.safeParse(value)
  if (!parsed.success) throw new PdpError('ERR_BUNDLE_INVALID', `.manifest: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

/** Files of a bundle beside OPA's own, at its top. */
export const extraFiles = { inputSchema: 'input.schema.json', vectors: 'decisions.json' } as const

const cacheAnnotation = z.object({ custom: z.object({ cache: z.object({ max_age_ms: z.int().min(0).max(86_400_000) }) }) })

/** For how long decisions may be given again, by entrypoint: the least that annotations say with `custom.cache.max_age_ms`. Milliseconds. */
export function cacheAgesOf({ wasm }: BundleManifest): Readonly<Record<string, number>> {
  const ages = wasm.map(({ entrypoint, annotations }) => {
    const declared = [annotations].flat().flatMap((one) => cacheAnnotation.safeParse(one).data?.custom.cache.max_age_ms ?? [])
    return [entrypoint, declared] as const
  })
  return Object.fromEntries(ages.filter(([, declared]) => declared.length > 0).map(([path, declared]) => [path, Math.min(...declared)]))
}
