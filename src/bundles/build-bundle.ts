// From a folder to a bundle: compiled by the toolchain, packed as `opa build -t wasm` packs it.
// Beside what OPA keeps, the manifest's metadata says under `verdict` what each entrypoint reads, and the modules
// stay whole (OPA cuts the entrypoints out), so that tests and explanations can run on what is served.
import type { JsonText } from '../decision/request.ts'
import { PdpError } from '../errors.ts'
import { readArchive, writeArchive } from './archive.ts'
import { type BundleManifest, type EntrypointReads, extraFiles } from './bundle.ts'
import type { PolicyFolder } from './folder.ts'
import { signaturesFile } from './signatures.ts'

/** The part of the toolchain that building needs. */
export interface Compiler {
  build(
    sources: { files: Readonly<Record<string, string>>; regoVersion?: 0 | 1 | undefined },
    entrypoints: readonly string[],
  ): Promise<{
    readonly wasm: Uint8Array
    readonly entrypoints: readonly { readonly path: string; readonly annotations?: unknown; readonly reads?: unknown }[]
  }>
}

export interface BuildOptions {
  /** Entrypoints beside the annotated ones, `package/rule`. */
  readonly entrypoints?: readonly string[]
  /** Overrides the manifest's. */
  readonly revision?: string | undefined
}

/**
 * @returns the archive; the same folder gives the same bytes
 * @throws PdpError ERR_REGO with findings, also when there is no entrypoint
 */
export async function buildBundle(folder: PolicyFolder, compiler: Compiler, options: BuildOptions = {}): Promise<Buffer> {
  if (Object.keys(folder.modules).length === 0) throw new PdpError('ERR_REGO', 'there is no .rego file')
  // Tests travel with the bundle, but are no part of the policy: OPA's builder would make entrypoints of some.
  const policies = Object.fromEntries(Object.entries(folder.modules).filter(([path]) => !path.endsWith('_test.rego')))
  const built = await compiler
    .build({ files: policies, regoVersion: folder.manifest?.rego_version }, options.entrypoints ?? [])
    .catch((cause: unknown) => {
      if (cause instanceof PdpError && cause.message.includes('requires at least one entrypoint')) {
        throw new PdpError(
          'ERR_REGO',
          'no rule is marked as an entrypoint: write `# METADATA` and `# entrypoint: true` above it, or name it with --entrypoint package/rule',
          { cause },
        )
      }
      throw cause
    })
  const reads: Record<string, EntrypointReads> = {}
  for (const { path, reads: read } of built.entrypoints) if (read !== undefined) reads[path] = read as EntrypointReads
  const manifest: BundleManifest = {
    ...folder.manifest,
    revision: options.revision ?? folder.manifest?.revision ?? '',
    rego_version: folder.manifest?.rego_version ?? 1,
    roots: folder.manifest?.roots ?? [''],
    wasm: built.entrypoints.map(({ path, annotations }) => ({
      entrypoint: path,
      module: '/policy.wasm',
      ...(annotations === undefined ? {} : { annotations }),
    })),
    metadata: { ...folder.manifest?.metadata, verdict: { reads } },
  }
  const files = new Map<string, Uint8Array | string>([
    ['.manifest', JSON.stringify(manifest)],
    ['data.json', folder.data],
    ['policy.wasm', built.wasm],
  ])
  for (const [path, text] of Object.entries(folder.modules)) files.set(path, text)
  if (folder.inputSchema !== undefined) files.set(extraFiles.inputSchema, folder.inputSchema)
  if (folder.vectors !== undefined) files.set(extraFiles.vectors, folder.vectors)
  return writeArchive(files)
}

/**
 * The same archive with other data, in one file at its top, and without its signatures, which were for the old data.
 * @param revision its new label; undefined: as before
 */
export async function withData(archive: Buffer, data: JsonText, revision?: string): Promise<Buffer> {
  const files: Map<string, Uint8Array | string> = await readArchive(archive)
  const manifest = files.get('.manifest')
  if (revision !== undefined) files.set('.manifest', JSON.stringify({ ...JSON.parse(String(manifest ?? '{}')), revision }))
  const rest = [...files].filter(([path]) => !/(?:^|\/)data\.json$/.test(path) && path !== signaturesFile)
  return writeArchive(new Map<string, Uint8Array | string>([...rest, ['data.json', data]]))
}
