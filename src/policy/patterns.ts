// regex.match and glob.match without a call of OPA's functions: strings are read where they lie in the policy's memory
// and run through an automaton that is kept (pattern-matcher.ts). What it cannot answer is left to OPA's function.
import { LRUCache } from 'lru-cache'
import type { BuiltinHost } from './builtin-host.ts'
import { chargeOfMatch, chargeOfPattern } from './charges.ts'
import { PatternMatcher, type PatternProgram } from './pattern-matcher.ts'
import type { PolicyMemory } from './policy-memory.ts'
import { layout } from './runtime-layout.ts'

/** Patterns that are no constants of the policy; each takes up to 130 KB. */
const maxOtherPatterns = 128

/** `false`: there is no program for it. */
type Known = PatternMatcher | false

export class Patterns {
  readonly #host: BuiltinHost
  readonly #memory: PolicyMemory
  /** What lies below is the module's own and never changes. */
  readonly #constantsEnd: number
  /** By kind and delimiters, then by the address of a pattern that is a constant. */
  readonly #constant = new Map<string, Map<number, Known>>()
  readonly #other = new LRUCache<string, Known>({ max: maxOtherPatterns })

  constructor(host: BuiltinHost, memory: PolicyMemory, constantsEnd: number) {
    this.#host = host
    this.#memory = memory
    this.#constantsEnd = constantsEnd
  }

  /**
   * @param args addresses of regex.match's arguments
   * @returns undefined: OPA's function has to be asked
   */
  regex([pattern, text]: readonly number[], charge: (steps: number) => void): boolean | undefined {
    return this.#match('', pattern as number, text as number, charge)
  }

  /** As regex, for the arguments of glob.match. */
  glob([pattern, delimiters, text]: readonly number[], charge: (steps: number) => void): boolean | undefined {
    const known = this.#delimiters(delimiters as number)
    return known === undefined ? undefined : this.#match(`g${known}`, pattern as number, text as number, charge)
  }

  #match(kind: string, pattern: number, text: number, charge: (steps: number) => void): boolean | undefined {
    const memory = this.#memory
    if (!memory.isString(pattern) || !memory.isString(text)) return undefined
    const matcher = pattern < this.#constantsEnd ? this.#constantPattern(kind, pattern) : this.#otherPattern(kind, pattern, charge)
    if (matcher === false) return undefined
    const from = memory.word(text + layout.stringText)
    const length = memory.word(text + layout.stringLength)
    charge(chargeOfMatch(matcher.size, length))
    return matcher.test(memory.bytes(), from, from + length)
  }

  #constantPattern(kind: string, pattern: number): Known {
    let ofKind = this.#constant.get(kind)
    if (ofKind === undefined) {
      ofKind = new Map()
      this.#constant.set(kind, ofKind)
    }
    let known = ofKind.get(pattern)
    if (known === undefined) {
      known = this.#compile(kind, this.#memory.stringText(pattern))
      ofKind.set(pattern, known)
    }
    return known
  }

  /** Charged as if it were compiled each time, so that what is remembered does not change a verdict. */
  #otherPattern(kind: string, pattern: number, charge: (steps: number) => void): Known {
    charge(chargeOfPattern(this.#memory.word(pattern + layout.stringLength)))
    const text = this.#memory.stringText(pattern)
    const key = `${kind}\0${text}`
    let known = this.#other.get(key)
    if (known === undefined) {
      known = this.#compile(kind, text)
      this.#other.set(key, known)
    }
    return known
  }

  #compile(kind: string, pattern: string): Known {
    // Perhaps not UTF-8, which OPA refuses.
    if (pattern.includes('\ufffd')) return false
    const program = this.#host.pattern(pattern, kind === '' ? undefined : kind.slice(1))
    return program === undefined ? false : new PatternMatcher(JSON.parse(program) as PatternProgram)
  }

  /** Characters, as OPA takes them; undefined where it would refuse them. */
  #delimiters(value: number): string | undefined {
    const memory = this.#memory
    const type = memory.typeOf(value)
    if (type === layout.null) return ''
    if (type !== layout.array) return undefined
    const count = memory.word(value + layout.lengthOf[layout.array])
    if (count === 0) return '.'
    if (count > 16) return undefined
    let delimiters = ''
    for (let i = 0; i < count; i++) {
      const element = memory.word(memory.word(value + layout.elements) + i * layout.elementBytes + layout.elementValue)
      if (!memory.isString(element)) return undefined
      const text = memory.stringText(element)
      if (text.length !== ((text.codePointAt(0) ?? 0) > 0xffff ? 2 : 1) || text.includes('\ufffd')) return undefined
      delimiters += text
    }
    return delimiters
  }
}
