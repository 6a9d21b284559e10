// The candidates of searches, from where the bundle's manifest says that its data holds them: `metadata.search`,
//   {"subject": {"user": "rbac/users"}, "resource": {"document": "documents"}, "action": {"document": "actions/document"}}
// What stands there may be an object (its keys count), a list of texts, or a list of objects with `id` or `name`.
import type { Candidates, SearchKind } from '../decision/candidates.ts'
import { membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'

/** Paths into the data, by kind and type; the type `*` stands for all others. */
export type CandidatePaths = Readonly<Partial<Record<SearchKind, Readonly<Record<string, string>> | undefined>>>

const kinds: readonly SearchKind[] = ['subject', 'resource', 'action']

/** @param data JSON text of the bundle's data; it is looked into when something is searched for the first time */
export function findCandidates(data: JsonText, paths: CandidatePaths): Candidates {
  const found = new Map<string, readonly string[]>()
  return {
    kinds: new Set(kinds.filter((kind) => Object.keys(paths[kind] ?? {}).length > 0)),
    of(kind, type) {
      const byType = new Map(Object.entries(paths[kind] ?? {}))
      const path = byType.get(type) ?? byType.get('*')
      if (path === undefined) return []
      let names = found.get(path)
      if (names === undefined) {
        names = [...new Set(namesAt(data, path.split('/')))].sort()
        found.set(path, names)
      }
      return names
    },
  }
}

function namesAt(data: JsonText, path: readonly string[]): string[] {
  let text: JsonText | undefined = data
  for (const key of path) text = text === undefined ? undefined : membersOf(text).get(key)
  if (text === undefined) return []
  if (text.startsWith('{')) return [...membersOf(text).keys()]
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? value.map(nameOf).filter((name) => name !== undefined) : []
}

function nameOf(element: unknown): string | undefined {
  if (typeof element === 'string') return element
  const { id, name } = (element ?? {}) as { id?: unknown; name?: unknown }
  return typeof id === 'string' ? id : typeof name === 'string' ? name : undefined
}
