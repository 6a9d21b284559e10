// OPA's delta bundles: `patch.json` with operations on data in place of policies and data. Here a delta names the archive that it
// is for in its manifest (`metadata.base`), so that what is signed is the change of one thing and of no other.
// @see https://www.openpolicyagent.org/docs/management-bundles#delta-bundle-file-format
import { z } from 'zod'
import { elementsOf, membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { checkStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import { withData } from './build-bundle.ts'
import { type Bundle, type BundleManifest, parseManifest } from './bundle.ts'
import { applyPatch, type PatchOperation, pathOf } from './json-patch.ts'
import { readBundle } from './read-bundle.ts'
import { checkPathInRoots } from './roots.ts'
import { signaturesFile } from './signatures.ts'

const patchFile = 'patch.json'
const limits = { maxDepth: 512, maxMembers: 10_000_000, forbidPrototypeKeys: false }
const maxOperations = 100_000

const operationSchema = z.looseObject({ op: z.enum(['upsert', 'replace', 'remove']), path: z.string().max(1_024) })

export interface Delta {
  /** Digest of the archive that it is for. */
  readonly base: string
  readonly manifest: BundleManifest
  readonly operations: readonly PatchOperation[]
}

/**
 * @returns undefined where the archive is no delta
 * @throws PdpError ERR_BUNDLE_INVALID, also for one with policies or data beside the change
 */
export function readDelta(files: ReadonlyMap<string, Buffer>): Delta | undefined {
  const content = files.get(patchFile)
  if (content === undefined) return undefined
  const extra = [...files.keys()].find((path) => ![patchFile, '.manifest', signaturesFile].includes(path))
  if (extra !== undefined) throw invalid(`a delta brings nothing but its change, not \`${extra}\``)
  const manifest = parseManifest(files.get('.manifest')?.toString('utf8') ?? '{}')
  const { base } = manifest.metadata
  if (typeof base !== 'string') throw invalid('the manifest of a delta must name the archive that it is for: `metadata.base`')
  return { base, manifest, operations: operationsOf(content.toString('utf8')) }
}

/**
 * @param base what the delta is for
 * @returns the bundle with the change, its revision the delta's
 * @throws PdpError ERR_BUNDLE_DATA, ERR_BUNDLE_ROOTS
 */
export async function applyDelta(base: Bundle, { operations, manifest }: Delta): Promise<Bundle> {
  for (const { path } of operations) for (const owner of [base.manifest, manifest]) checkPathInRoots(owner, pathOf(path))
  return readBundle(await withData(base.archive, applyPatch(base.data, operations), manifest.revision))
}

function operationsOf(text: string): Delta['operations'] {
  let list: JsonText | undefined
  try {
    checkStrictJson(text, limits)
    list = membersOf(text.trim()).get('data')
  } catch (cause) {
    throw invalid(`${patchFile}: ${(cause as Error).message}`, cause)
  }
  if (list === undefined || !list.startsWith('[')) throw invalid(`${patchFile} must have a list \`data\``)
  const operations = elementsOf(list)
  if (operations.length > maxOperations) throw invalid(`${patchFile} has more than \`${maxOperations}\` operations`)
  return operations.map((operation, i) => {
    const parsed = operationSchema.safeParse(JSON.parse(operation))
    if (!parsed.success) throw invalid(`${patchFile}: operation ${i}: ${parsed.error.issues[0]?.message}`)
    const { op, path } = parsed.data
    return { op, path, value: membersOf(operation).get('value') }
  })
}

function invalid(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_BUNDLE_INVALID', what, { cause })
}
