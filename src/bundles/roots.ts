// What a bundle owns: the roots of its manifest. Roots of different bundles cannot meet: each has a data document of its own.
// @see https://www.openpolicyagent.org/docs/management-bundles#bundle-file-format
import { membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { PdpError } from '../errors.ts'
import type { BundleManifest } from './bundle.ts'

/**
 * @param data of the bundle, JSON text of an object
 * @throws PdpError ERR_BUNDLE_ROOTS for roots that overlap, and for data or entrypoints outside them
 */
export function checkRoots({ roots, wasm }: BundleManifest, data: JsonText): void {
  if (roots === undefined) return
  const parts = roots.map(partsOf)
  for (const [i, a] of parts.entries()) {
    const twin = parts.findIndex((b, j) => j !== i && startsWith(b, a))
    if (twin >= 0) throw refused(`the roots \`${quote(roots[i])}\` and \`${quote(roots[twin])}\` overlap`)
  }
  if (parts.some((root) => root.length === 0)) return
  checkData(parts, data, [])
  for (const { entrypoint } of wasm) {
    if (!isOwned(parts, partsOf(entrypoint))) throw refused(`the entrypoint \`${quote(entrypoint)}\` is outside the roots`)
  }
}

/** @throws PdpError ERR_BUNDLE_ROOTS */
export function checkPathInRoots({ roots }: BundleManifest, path: readonly string[]): void {
  if (roots !== undefined && !isOwned(roots.map(partsOf), path)) throw refused(`\`${quote(path.join('/'))}\` is outside the roots`)
}

function checkData(roots: readonly string[][], data: JsonText, at: readonly string[]): void {
  for (const [key, value] of membersOf(data)) {
    const path = [...at, key]
    if (isOwned(roots, path)) continue
    const isOnTheWay = roots.some((root) => startsWith(root, path))
    if (!isOnTheWay || !value.startsWith('{')) throw refused(`the data at \`${quote(path.join('/'))}\` is outside the roots`)
    checkData(roots, value, path)
  }
}

function isOwned(roots: readonly string[][], path: readonly string[]): boolean {
  return roots.some((root) => startsWith(path, root))
}

function startsWith(path: readonly string[], start: readonly string[]): boolean {
  return start.every((part, i) => path[i] === part)
}

function partsOf(root: string): string[] {
  return root.split('/').filter((part) => part !== '')
}

function quote(text: string | undefined): string {
  return (text ?? '').slice(0, 128)
}

function refused(what: string): PdpError {
  return new PdpError('ERR_BUNDLE_ROOTS', what)
}
