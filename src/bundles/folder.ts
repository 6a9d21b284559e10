// A folder of Rego and data on disk, read for the toolchain. Files that bundles know: *.rego, data.json, data.yaml,
// .manifest, input.schema.json, decisions.json; the rest is left alone, and so are hidden folders and node_modules.
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'
import { type BundleManifest, extraFiles, parseManifest } from './bundle.ts'
import { mergeData } from './data-document.ts'

export interface PolicyFolder {
  /** Rego modules by path relative to the folder. */
  readonly modules: Readonly<Record<string, string>>
  /** JSON text of the data document. */
  readonly data: string
  readonly manifest: BundleManifest | undefined
  /** JSON Schema of `input` as JSON text, from `input.schema.json`. */
  readonly inputSchema: string | undefined
  /** Questions with the answers that they must get, as JSON text, from `decisions.json`. */
  readonly vectors: string | undefined
}

/** The part of the toolchain that reading a folder needs. */
export interface YamlReader {
  yamlToJson(text: string): Promise<string>
}

const maxFiles = 10_000
const maxDepth = 32

/** @throws PdpError ERR_FILE, ERR_BUNDLE_DATA, ERR_BUNDLE_INVALID */
export async function readFolder(folder: string, yaml: YamlReader): Promise<PolicyFolder> {
  const modules: Record<string, string> = {}
  const data = new Map<string, string>()
  let manifest: BundleManifest | undefined
  let inputSchema: string | undefined
  let vectors: string | undefined
  for (const path of await listFiles(folder)) {
    const text = await readText(join(folder, path))
    if (path.endsWith('.rego')) modules[path] = text
    else if (path === '.manifest') manifest = parseManifest(text)
    else if (path === extraFiles.inputSchema) inputSchema = text
    else if (path === extraFiles.vectors) vectors = text
    else if (path.endsWith('data.json')) data.set(path, text)
    else data.set(path.replace(/ya?ml$/, 'json'), await yaml.yamlToJson(text))
  }
  return { modules, data: mergeData(data), manifest, inputSchema, vectors }
}

/** Paths, relative to the folder, of the files that matter, sorted. */
export async function listFiles(folder: string): Promise<string[]> {
  const found: string[] = []
  const walk = async (relative: string, depth: number): Promise<void> => {
    if (depth > maxDepth) throw new PdpError('ERR_FILE', `\`${join(folder, relative)}\` is nested deeper than ${maxDepth} folders`)
    for (const entry of await readEntries(join(folder, relative))) {
      const path = relative === '' ? entry : `${relative}/${entry}`
      if (isPolicyFile(path)) {
        // Symbolic links are followed: Kubernetes mounts every file of a volume as one.
        if ((await stat(join(folder, path))).isFile()) found.push(path)
      } else if (!entry.startsWith('.') && entry !== 'node_modules' && (await stat(join(folder, path))).isDirectory()) {
        await walk(path, depth + 1)
      }
      if (found.length > maxFiles) throw new PdpError('ERR_FILE', `\`${folder}\` has more than ${maxFiles} policy files`)
    }
  }
  await walk('', 0)
  return found.sort()
}

/** Whether a change of this path can change the policy. */
export function isPolicyFile(path: string): boolean {
  return (
    /(?:^|\/)[^/]+\.rego$|(?:^|\/)data\.(?:json|ya?ml)$|^\.manifest$/.test(path) ||
    path === extraFiles.inputSchema ||
    path === extraFiles.vectors
  )
}

async function readEntries(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (cause) {
    throw new PdpError('ERR_FILE', `the folder \`${folder}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new PdpError('ERR_FILE', `\`${path}\` cannot be read: ${cause.message}`, { cause })
  })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new PdpError('ERR_FILE', `\`${path}\` is not UTF-8`, { cause })
  }
}
