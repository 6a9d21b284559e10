// One data document from the data files of a folder or an archive, as JSON text with every digit kept.
// `a/b/data.json` is mounted at `data.a.b`.
import { membersOf } from '../decision/json-text.ts'
import { checkStrictJson, type JsonLimits } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'

/** Data is trusted more than requests; these bounds only keep readers from falling over. */
const dataLimits: JsonLimits = { maxDepth: 512, maxMembers: 50_000_000, forbidPrototypeKeys: false }

interface Tree {
  readonly children: Map<string, Tree | string>
}

/**
 * @param files JSON text by path; every path ends in `data.json`
 * @throws PdpError ERR_BUNDLE_DATA when a file is not a JSON object, has a key twice, or two files give the same key
 */
export function mergeData(files: ReadonlyMap<string, string>): string {
  const root: Tree = { children: new Map() }
  const paths = [...files.keys()].sort()
  const only = paths[0]
  if (paths.length === 1 && only === 'data.json') return checked(only, files.get(only) as string).trim()
  for (const path of paths) {
    const text = checked(path, files.get(path) as string)
    let at = root
    for (const part of path.split('/').slice(0, -1)) at = descend(at, part, path)
    for (const [key, value] of membersOf(text)) add(at, key, value, path)
  }
  return print(root)
}

function checked(path: string, text: string): string {
  try {
    checkStrictJson(text, dataLimits)
    if (!text.trimStart().startsWith('{')) {
      throw new PdpError('ERR_BUNDLE_DATA', 'the outermost value must be an object')
    }
  } catch (cause) {
    throw new PdpError('ERR_BUNDLE_DATA', `${path}: ${(cause as Error).message}`, { cause })
  }
  return text
}

function descend(tree: Tree, key: string, path: string): Tree {
  const child = tree.children.get(key)
  if (typeof child === 'object') return child
  const fresh: Tree = { children: new Map() }
  if (child !== undefined) for (const [k, v] of objectMembers(child, key, path)) fresh.children.set(k, v)
  tree.children.set(key, fresh)
  return fresh
}

function add(tree: Tree, key: string, value: string, path: string): void {
  const present = tree.children.get(key)
  if (present === undefined) {
    tree.children.set(key, value)
    return
  }
  const into = descend(tree, key, path)
  for (const [k, v] of objectMembers(value, key, path)) add(into, k, v, path)
}

function objectMembers(text: string, key: string, path: string): ReadonlyMap<string, string> {
  if (!text.startsWith('{')) throw new PdpError('ERR_BUNDLE_DATA', `${path}: the key \`${key}\` is given by another file too`)
  return membersOf(text)
}

function print(tree: Tree): string {
  const members: string[] = []
  for (const [key, value] of tree.children) members.push(`${JSON.stringify(key)}:${typeof value === 'string' ? value : print(value)}`)
  return `{${members.join(',')}}`
}
