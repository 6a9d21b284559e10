// Changes to a WebAssembly module: functions added, calls led elsewhere, functions exported.
// Knows nothing of what the module is for. Function indices that exist stay as they are.
import { type Code, unsigned } from './assembler.ts'
import { appendExports, concat, encodeU32, readSections, sectionOf, WasmReader, type WasmSection, writeSections } from './binary.ts'

/** Target of the instruction that grows memory, which is led elsewhere like a call. */
export const growMemory = -1

/** One `call` in a function's body. */
export interface Call {
  /** Index of the function that is called, or `growMemory`. */
  readonly target: number
  /** The loops around it, outermost first; numbers are unique within the function. */
  readonly loops: readonly number[]
}

interface LocatedCall extends Call {
  /** Where the instruction stands. */
  readonly start: number
  readonly end: number
}

const section = { type: 1, import: 2, function: 3, global: 6, export: 7, code: 10 } as const

export class ModulePatch {
  readonly #header: Uint8Array
  readonly #sections: WasmSection[]
  readonly #importedFunctions: number
  readonly #importedGlobals: number
  readonly #bodies: Uint8Array[]
  readonly #added: { type: number; body: Uint8Array }[] = []
  readonly #globals: { name: string; index: number }[] = []
  readonly #exports: { name: string; kind: 0 | 3; index: number }[] = []
  readonly #types: Uint8Array[] = []
  readonly #typeCount: number
  readonly #definedGlobals: number
  /** Indices of functions by their names in the name section; of two with one name, the first. */
  readonly names: ReadonlyMap<string, number>

  /** @param wasm a module that WebAssembly.validate accepts */
  constructor(wasm: Uint8Array) {
    this.#header = wasm.subarray(0, 8)
    this.#sections = readSections(wasm)
    const imports = new WasmReader(sectionOf(this.#sections, section.import).body)
    let functions = 0
    let globals = 0
    for (let left = imports.u32(); left > 0; left--) {
      const { kind } = imports.importEntry()
      if (kind === 'function') functions++
      else if (kind === 'global') globals++
    }
    this.#importedFunctions = functions
    this.#importedGlobals = globals
    this.#definedGlobals = new WasmReader(sectionOf(this.#sections, section.global).body).u32()
    this.#typeCount = new WasmReader(sectionOf(this.#sections, section.type).body).u32()
    this.#bodies = readVector(sectionOf(this.#sections, section.code).body)
    this.names = readFunctionNames(this.#sections)
  }

  /**
   * @returns the index of a function by its name in the name section
   * @throws RangeError naming the function where the section lacks it
   */
  functionNamed(name: string): number {
    const index = this.names.get(name)
    if (index === undefined) throw new RangeError(`the module does not name its function \`${name}\``)
    return index
  }

  /** Functions that the module defines, by index. */
  *definedFunctions(): Iterable<number> {
    for (let i = 0; i < this.#bodies.length; i++) yield this.#importedFunctions + i
  }

  /** Adds a mutable i32 global, initially zero, exported under a name. */
  addGlobal(name: string): number {
    const index = this.#importedGlobals + this.#definedGlobals + this.#globals.length
    this.#globals.push({ name, index })
    this.#exports.push({ name, kind: 3, index })
    return index
  }

  /**
   * Adds a function from i32 parameters to one i32.
   * @param locals further locals, all i32; they start at index `parameters`
   * @returns its index
   */
  addFunction(parameters: number, locals: number, ...code: Code[]): number {
    return this.#add(parameters, [0x7f], locals, code)
  }

  /** As addFunction, without a result. */
  addProcedure(parameters: number, locals: number, ...code: Code[]): number {
    return this.#add(parameters, [], locals, code)
  }

  #add(parameters: number, results: readonly number[], locals: number, code: readonly Code[]): number {
    const type = this.#typeCount + this.#types.length
    const types = new Array<number>(parameters).fill(0x7f)
    this.#types.push(Uint8Array.of(0x60, ...unsigned(parameters), ...types, results.length, ...results))
    const declared = locals === 0 ? [0] : [1, ...unsigned(locals), 0x7f]
    this.#added.push({ type, body: Uint8Array.from([...declared, ...code.flat(), 0x0b]) })
    return this.#importedFunctions + this.#bodies.length + this.#added.length - 1
  }

  exportFunction(name: string, index: number): void {
    this.#exports.push({ name, kind: 0, index })
  }

  /**
   * Leads calls in one of the module's own functions elsewhere.
   * @param choose all calls of the body in, the new target of each out; undefined leaves a call as it is
   */
  redirectCalls(functionIndex: number, choose: (calls: readonly Call[]) => readonly (number | undefined)[]): void {
    const at = functionIndex - this.#importedFunctions
    const body = this.#bodies[at] as Uint8Array
    const calls = findCalls(body)
    const targets = choose(calls)
    const parts: Uint8Array[] = []
    let from = 0
    calls.forEach(({ start, end }, i) => {
      const target = targets[i]
      if (target === undefined) return
      parts.push(body.subarray(from, start), Uint8Array.of(0x10, ...unsigned(target)))
      from = end
    })
    if (parts.length > 0) this.#bodies[at] = concat([...parts, body.subarray(from)])
  }

  toBytes(): Uint8Array {
    append(sectionOf(this.#sections, section.type), this.#types)
    append(
      sectionOf(this.#sections, section.function),
      this.#added.map(({ type }) => encodeU32(type)),
    )
    append(
      sectionOf(this.#sections, section.global),
      this.#globals.map(() => Uint8Array.of(0x7f, 1, 0x41, 0, 0x0b)),
    )
    appendExports(sectionOf(this.#sections, section.export), this.#exports)
    const bodies = [...this.#bodies, ...this.#added.map(({ body }) => body)]
    sectionOf(this.#sections, section.code).body = concat([encodeU32(bodies.length), ...bodies.flatMap((b) => [encodeU32(b.length), b])])
    return writeSections(this.#header, this.#sections)
  }
}

function append(target: WasmSection, entries: readonly Uint8Array[]): void {
  const reader = new WasmReader(target.body)
  const count = reader.u32()
  target.body = concat([encodeU32(count + entries.length), target.body.subarray(reader.offset), ...entries])
}

/** The entries of a vector whose entries begin with their length in bytes. */
function readVector(body: Uint8Array): Uint8Array[] {
  const reader = new WasmReader(body)
  const entries: Uint8Array[] = []
  for (let left = reader.u32(); left > 0; left--) {
    const length = reader.u32()
    entries.push(body.subarray(reader.offset, reader.offset + length))
    reader.offset += length
  }
  return entries
}

/** @see WebAssembly Core Specification 2.0, §7.4.1 "Name Section" */
function readFunctionNames(sections: readonly WasmSection[]): Map<string, number> {
  const names = new Map<string, number>()
  for (const { id, body } of sections) {
    if (id !== 0) continue
    const reader = new WasmReader(body)
    if (reader.name() !== 'name') continue
    while (reader.offset < body.length) {
      const kind = reader.byte()
      const length = reader.u32()
      const end = reader.offset + length
      if (kind === 1) {
        for (let left = reader.u32(); left > 0; left--) {
          const index = reader.u32()
          const name = reader.name()
          if (!names.has(name)) names.set(name, index)
        }
      }
      reader.offset = end
    }
  }
  return names
}

function findCalls(body: Uint8Array): LocatedCall[] {
  const reader = new WasmReader(body)
  for (let groups = reader.u32(); groups > 0; groups--) reader.skipLebs(2)
  const calls: LocatedCall[] = []
  const blocks: (number | undefined)[] = []
  let loops = 0
  while (reader.offset < body.length) {
    const start = reader.offset
    const opcode = reader.byte()
    if (opcode === 0x10 || opcode === 0x40) {
      const immediate = reader.u32()
      const target = opcode === 0x10 ? immediate : growMemory
      calls.push({ target, loops: blocks.filter((block) => block !== undefined), start, end: reader.offset })
      continue
    }
    reader.skipImmediates(opcode)
    if (opcode === 0x03) blocks.push(loops++)
    else if (opcode === 0x02 || opcode === 0x04) blocks.push(undefined)
    else if (opcode === 0x0b) blocks.pop()
  }
  return calls
}
