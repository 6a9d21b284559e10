// From the bytes of an archive to a Bundle. One that brings Rego and no policy.wasm is compiled, where there is a compiler.
import { PdpError } from '../errors.ts'
import { type ArchiveLimits, digestOf, readArchive } from './archive.ts'
import { buildBundle, type Compiler } from './build-bundle.ts'
import { type Bundle, extraFiles, parseManifest } from './bundle.ts'
import { mergeData } from './data-document.ts'
import { checkRoots } from './roots.ts'
import type { Signed } from './signatures.ts'

export interface ReadBundleOptions {
  readonly limits?: ArchiveLimits | undefined
  readonly compiler?: Compiler | undefined
  /** Who signed it, as somebody found who looked before. */
  readonly signed?: Signed | undefined
}

/** @throws PdpError as readArchive, and as bundleOf */
export async function readBundle(archive: Buffer, options: ReadBundleOptions = {}): Promise<Bundle> {
  return bundleOf(archive, await readArchive(archive, options.limits), options)
}

/**
 * @param files of the archive
 * @throws PdpError ERR_BUNDLE_INVALID when policy.wasm is missing or the manifest is malformed, ERR_BUNDLE_DATA, ERR_BUNDLE_ROOTS;
 * ERR_REGO of the compiler
 */
export async function bundleOf(
  archive: Buffer,
  files: ReadonlyMap<string, Buffer>,
  { limits, compiler, signed }: ReadBundleOptions = {},
): Promise<Bundle> {
  const text = (path: string) => {
    const content = files.get(path)
    return content === undefined ? undefined : decode(path, content)
  }
  const manifest = parseManifest(text('.manifest') ?? '{}')
  const data = new Map<string, string>()
  const modules: Record<string, string> = {}
  for (const [path, content] of files) {
    if (/(?:^|\/)data\.ya?ml$/.test(path)) {
      throw new PdpError('ERR_BUNDLE_DATA', `${path}: YAML data is not read from archives: \`verdict build\` turns it into JSON`)
    }
    if (/(?:^|\/)data\.json$/.test(path)) data.set(path, decode(path, content))
    else if (path.endsWith('.rego')) modules[path] = decode(path, content)
  }
  const parts = {
    signed,
    manifest,
    data: mergeData(data),
    modules,
    inputSchema: text(extraFiles.inputSchema),
    vectors: text(extraFiles.vectors),
  }
  checkRoots(manifest, parts.data)
  const wasm = files.get('policy.wasm')
  if (wasm !== undefined) return { ...parts, digest: digestOf(archive), wasm, archive }
  if (compiler !== undefined && Object.keys(modules).length > 0) {
    return { ...(await readBundle(await buildBundle(parts, compiler), { limits })), signed }
  }
  throw new PdpError('ERR_BUNDLE_INVALID', 'the archive has no policy.wasm: make it with `verdict build` or `opa build -t wasm`')
}

function decode(path: string, content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content)
  } catch (cause) {
    throw new PdpError('ERR_BUNDLE_INVALID', `${path} is not UTF-8`, { cause })
  }
}
