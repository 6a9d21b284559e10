// From the bytes of an archive to a Bundle.
import { PdpError } from '../errors.ts'
import { type ArchiveLimits, digestOf, readArchive } from './archive.ts'
import { type Bundle, parseManifest } from './bundle.ts'
import { mergeData } from './data-document.ts'

/**
 * @throws PdpError as readArchive; ERR_BUNDLE_INVALID when policy.wasm is missing or the manifest is malformed,
 * ERR_BUNDLE_DATA
 */
export async function readBundle(archive: Buffer, limits?: ArchiveLimits): Promise<Bundle> {
  const files = await readArchive(archive, limits)
  const manifest = parseManifest(files.get('.manifest')?.toString('utf8') ?? '{}')
  const wasm = files.get('policy.wasm')
  if (wasm === undefined) {
    throw new PdpError('ERR_BUNDLE_INVALID', 'the archive has no policy.wasm: make it with `verdict build` or `opa build -t wasm`')
  }
  const data = new Map<string, string>()
  const modules: Record<string, string> = {}
  for (const [path, content] of files) {
    if (/(?:^|\/)data\.ya?ml$/.test(path)) {
      throw new PdpError('ERR_BUNDLE_DATA', `${path}: YAML data is not read from archives: \`verdict build\` turns it into JSON`)
    }
    if (/(?:^|\/)data\.json$/.test(path)) data.set(path, decode(path, content))
    else if (path.endsWith('.rego')) modules[path] = decode(path, content)
  }
  return { digest: digestOf(archive), manifest, wasm, data: mergeData(data), modules, archive }
}

function decode(path: string, content: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content)
  } catch (cause) {
    throw new PdpError('ERR_BUNDLE_INVALID', `${path} is not UTF-8`, { cause })
  }
}
