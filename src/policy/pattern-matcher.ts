// Whether a text matches a pattern, in time linear in the text: a deterministic automaton, made as far as texts need it,
// over the program that Go's regexp package compiles a pattern to (src/rego/toolchain/pattern.go). It reads UTF-8 where
// it lies. Tells only whether there is a match, not where.
// @see https://swtch.com/~rsc/regexp/regexp3.html "Regular Expression Matching in the Wild" (the construction)

/** As pattern.go writes it. */
export interface PatternProgram {
  readonly start: number
  /** A match begins where the text begins. */
  readonly anchored: boolean
  /** Operation, out, argument; of `runes` also the ranges accepted. */
  readonly instructions: readonly (readonly number[])[]
}

const operation = { alternative: 0, emptyWidth: 1, match: 2, fail: 3, nothing: 4, runes: 5 } as const

/** Conditions of an instruction that takes no character. @see regexp/syntax.EmptyOp */
const empty = { beginLine: 1, endLine: 2, beginText: 4, endText: 8, wordBoundary: 16, noWordBoundary: 32 } as const

/** What a state knows of the character before it. */
const before = { nothing: 1, newline: 2, word: 4 } as const

/** Entries of the table of transitions that are no state. */
const unknown = 0
const accepted = -1
const dead = -2

/** States are forgotten when there are more, and made again. */
const maxStates = 500
const maxTableEntries = 65_536
const newline = 0x0a

interface State {
  readonly instructions: readonly number[]
  readonly before: number
}

export class PatternMatcher {
  readonly #program: PatternProgram
  /** Number of the program's instructions; what one character costs at most grows with it. */
  readonly size: number
  /** Classes of characters that no instruction tells apart: where each begins, and which it is. */
  readonly #boundaries: readonly number[]
  readonly #classOf: readonly number[]
  readonly #ascii = new Uint16Array(128)
  readonly #classes: number
  /** A character of each class. */
  readonly #examples: readonly number[]
  readonly #usesBefore: boolean
  readonly #maxStates: number
  #states: State[] = []
  #ids = new Map<string, number>()
  #table = new Int32Array(0)

  constructor(program: PatternProgram) {
    this.#program = program
    this.size = program.instructions.length
    this.#usesBefore = program.instructions.some(([op]) => op === operation.emptyWidth)
    const { boundaries, classOf, examples } = classesOf(program, this.#usesBefore)
    this.#boundaries = boundaries
    this.#classOf = classOf
    this.#examples = examples
    this.#classes = examples.length
    for (let rune = 0; rune < 128; rune++) this.#ascii[rune] = this.#find(rune)
    this.#maxStates = Math.max(2, Math.min(maxStates, Math.floor(maxTableEntries / (this.#classes + 1))))
    this.#reset()
  }

  /** @returns undefined where the bytes from `from` to `to` are not UTF-8 as far as they had to be read */
  test(bytes: Uint8Array, from: number, to: number): boolean | undefined {
    const width = this.#classes + 1
    let table = this.#table
    let state = 0
    for (let at = from; at < to; ) {
      const byte = bytes[at] as number
      let kind: number
      if (byte < 0x80) {
        kind = this.#ascii[byte] as number
        at++
      } else {
        const rune = runeAt(bytes, at, to)
        if (rune < 0) return undefined
        kind = this.#find(rune)
        at += rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4
      }
      let next = table[state * width + kind] as number
      if (next === unknown) {
        next = this.#advance(state, kind)
        table = this.#table
      }
      if (next < 0) return next === accepted
      state = next - 1
    }
    let end = table[state * width + this.#classes] as number
    if (end === unknown) end = this.#advance(state, this.#classes)
    return end === accepted
  }

  #find(rune: number): number {
    let low = 0
    let high = this.#boundaries.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#boundaries[middle] as number) <= rune) low = middle
      else high = middle
    }
    return this.#classOf[low] as number
  }

  /** Finds where a state goes with a class of characters, or with the end of the text, and writes it down. */
  #advance(from: number, kind: number): number {
    const state = this.#states[from] as State
    const rune = this.#examples[kind] ?? -1
    const reached = this.#reach(state, rune)
    let next = dead as number
    if (reached === undefined) next = accepted
    else if (rune >= 0) {
      const out = new Set<number>()
      for (const pc of reached) {
        const instruction = this.#program.instructions[pc] as readonly number[]
        if (accepts(instruction, rune)) out.add(instruction[1] as number)
      }
      if (out.size > 0 || !this.#program.anchored) {
        const known = this.#usesBefore ? (rune === newline ? before.newline : isWord(rune) ? before.word : 0) : 0
        const id = this.#stateOf([...out], known)
        // Where states were forgotten, the one that this began with is gone, too.
        if (this.#states[from] !== state) return id + 1
        next = id + 1
      }
    }
    this.#table[from * (this.#classes + 1) + kind] = next
    return next
  }

  /**
   * Follows all that takes no character.
   * @param rune the character that comes next; -1: the end
   * @returns the instructions that take one; undefined: a match
   */
  #reach(state: State, rune: number): number[] | undefined {
    const { instructions, start, anchored } = this.#program
    const conditions = this.#usesBefore ? conditionsOf(state.before, rune) : 0
    const seen = new Set<number>()
    const reached: number[] = []
    const pending = [...state.instructions]
    if (!anchored || state.before & before.nothing) pending.push(start)
    for (let pc = pending.pop(); pc !== undefined; pc = pending.pop()) {
      if (seen.has(pc)) continue
      seen.add(pc)
      const [op, out, argument] = instructions[pc] as [number, number, number]
      if (op === operation.match) return undefined
      if (op === operation.runes) reached.push(pc)
      else if (op === operation.alternative) pending.push(out, argument)
      else if (op === operation.nothing || (op === operation.emptyWidth && (argument & ~conditions) === 0)) pending.push(out)
    }
    return reached
  }

  #stateOf(instructions: number[], known: number): number {
    instructions.sort((a, b) => a - b)
    const key = `${known}:${instructions.join()}`
    const found = this.#ids.get(key)
    if (found !== undefined) return found
    if (this.#states.length >= this.#maxStates) this.#reset()
    const id = this.#states.length
    this.#ids.set(key, id)
    this.#states.push({ instructions, before: known })
    const needed = this.#states.length * (this.#classes + 1)
    if (needed > this.#table.length) {
      const larger = new Int32Array(Math.min(needed * 2, this.#maxStates * (this.#classes + 1)))
      larger.set(this.#table)
      this.#table = larger
    }
    return id
  }

  /** Begins again with the state in which a text begins. */
  #reset(): void {
    this.#states = []
    this.#ids = new Map()
    this.#table = new Int32Array(4 * (this.#classes + 1))
    this.#states.push({ instructions: [], before: before.nothing })
    this.#ids.set('start', 0)
  }
}

function accepts(instruction: readonly number[], rune: number): boolean {
  for (let i = 3; i < instruction.length; i += 2) {
    if (rune >= (instruction[i] as number) && rune <= (instruction[i + 1] as number)) return true
  }
  return false
}

function isWord(rune: number): boolean {
  return (rune >= 0x61 && rune <= 0x7a) || (rune >= 0x41 && rune <= 0x5a) || (rune >= 0x30 && rune <= 0x39) || rune === 0x5f
}

/** @see regexp/syntax.EmptyOpContext */
function conditionsOf(known: number, next: number): number {
  let conditions = 0
  if (known & before.nothing) conditions |= empty.beginText | empty.beginLine
  if (known & before.newline) conditions |= empty.beginLine
  if (next < 0) conditions |= empty.endText | empty.endLine
  if (next === newline) conditions |= empty.endLine
  return conditions | (((known & before.word) !== 0) !== isWord(next) ? empty.wordBoundary : empty.noWordBoundary)
}

/** Divides all characters into classes that no instruction tells apart. */
function classesOf(program: PatternProgram, usesBefore: boolean): { boundaries: number[]; classOf: number[]; examples: number[] } {
  const begins = new Map<number, number[]>([[0, []]])
  const at = (rune: number) => {
    const list = begins.get(rune) ?? []
    begins.set(rune, list)
    return list
  }
  const add = (mark: number, first: number, last: number) => {
    at(first).push(mark)
    at(last + 1).push(-mark)
  }
  program.instructions.forEach((instruction, pc) => {
    for (let i = 3; i < instruction.length; i += 2) add(pc + 1, instruction[i] as number, instruction[i + 1] as number)
  })
  const others = program.instructions.length + 1
  if (usesBefore) {
    add(others, newline, newline)
    for (const [first, last] of ['az', 'AZ', '09', '__']) add(others + 1, (first as string).charCodeAt(0), (last as string).charCodeAt(0))
  }
  const boundaries = [...begins.keys()].sort((a, b) => a - b)
  const active = new Map<number, number>()
  const classes = new Map<string, number>()
  const examples: number[] = []
  const classOf = boundaries.map((rune) => {
    for (const mark of begins.get(rune) as number[]) {
      const count = (active.get(Math.abs(mark)) ?? 0) + Math.sign(mark)
      if (count === 0) active.delete(Math.abs(mark))
      else active.set(Math.abs(mark), count)
    }
    const key = [...active.keys()].sort((a, b) => a - b).join()
    const known = classes.get(key)
    if (known !== undefined) return known
    classes.set(key, examples.length)
    return examples.push(rune) - 1
  })
  return { boundaries, classOf, examples }
}

/** The character whose UTF-8 begins with a byte beyond ASCII; -1 where it is none. @see RFC 3629 §4 */
function runeAt(bytes: Uint8Array, at: number, to: number): number {
  const first = bytes[at] as number
  const follow = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1
  if (first < 0xc2 || first > 0xf4 || at + follow >= to) return -1
  let rune = first & (0x3f >> follow)
  for (let i = 1; i <= follow; i++) {
    const byte = bytes[at + i] as number
    if ((byte & 0xc0) !== 0x80) return -1
    rune = (rune << 6) | (byte & 0x3f)
  }
  const least = follow === 1 ? 0x80 : follow === 2 ? 0x800 : 0x10000
  return rune < least || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff) ? -1 : rune
}
