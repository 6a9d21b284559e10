// Whether and for how long decisions of an entrypoint may be given again, and by what two questions are told apart; known from what it
// reads before anything is asked.
import { hashOf, Projection } from '../decision/projection.ts'

export interface CacheRule {
  /** Longest time; Infinity: until the bundle changes. Milliseconds. */
  readonly maxAgeMs: number
  /** As the author declared it; undefined: not at all. */
  readonly declaredMs: number | undefined
  /** Before every key of the entrypoint, and its hash. */
  readonly prefix: string
  readonly prefixHash: number
  readonly input: Projection
  /** Of the facts under the trusted key; undefined: none are read. */
  readonly trusted: Projection | undefined
}

/** What is known of an entrypoint. */
export interface EntrypointFacts {
  readonly bundle: string
  readonly path: string
  /** Paths under `input`; undefined: nothing is known, so it reads everything. */
  readonly inputReads: readonly (readonly string[])[] | undefined
  /** Whether functions are called whose answer varies; true where nothing is known. */
  readonly varies: boolean
  /** From its annotation. Milliseconds. */
  readonly declaredMs: number | undefined
}

/** @returns undefined: its decisions are given once */
export function cacheRuleOf({ bundle, path, inputReads, varies, declaredMs }: EntrypointFacts, trustedKey: string): CacheRule | undefined {
  const reads = inputReads ?? [[]]
  const readsClock = covers(reads, [trustedKey, 'time'])
  if (declaredMs === 0 || (declaredMs === undefined && (varies || readsClock))) return undefined
  const trusted = reads.filter(([first]) => first === undefined || first === trustedKey).map((part) => part.slice(1))
  const prefix = `${bundle}\0${path}\0`
  return {
    maxAgeMs: declaredMs ?? Number.POSITIVE_INFINITY,
    declaredMs,
    prefix,
    prefixHash: hashOf(prefix),
    input: new Projection(reads.filter(([first]) => first !== trustedKey)),
    // The instant of the decision is in no key: where it is read, the declared time is what its answer may be old.
    trusted: trusted.length === 0 ? undefined : new Projection(trusted.filter(([first]) => first !== 'time')),
  }
}

/** Whether a set of read paths covers a path or something within it. */
export function covers(paths: readonly (readonly string[])[] | undefined, wanted: readonly string[]): boolean {
  if (paths === undefined) return true
  return paths.some((path) => wanted.every((part, i) => path[i] === undefined || path[i] === part))
}
