// What is changed in a policy.wasm so that it answers as OPA's own evaluator does.
//
// A policy.wasm carries OPA's runtime, written in C. Its functions differ from OPA's in places: what is an error there
// is undefined here, arithmetic is decimal, sets come out in the order of their hashes. So the policy's calls of
// native functions go through functions added here, which ask the host where the native one cannot be trusted
// (native-functions.ts), and errors are told from undefined by the host when they are strict.
// Calls are told by the names in the module's name section; the memory layout is that of OPA's wasm/src/value.h.
import { type Code, asm as w } from '../wasm/assembler.ts'
import { type Call, growMemory, ModulePatch } from '../wasm/patch.ts'
import { nativeFunctions, type Trust } from './native-functions.ts'

/** Name of the exported global: not zero, where built-in errors end an evaluation. */
export const strictExport = 'verdict_strict'
/** Name of the exported global that holds how many pages memory was grown by ahead of need. */
export const sparePagesExport = 'verdict_spare_pages'
/** Memory grows by this much more than was asked for: each growth takes the engine long. Pages of 64 KiB. */
const growthPages = 64
/** Name under which the comparison of values is exported. */
export const compareExport = 'verdict_compare'

/**
 * IDs of host calls that are not in the module's own list of built-ins.
 * `nativeBase + i` is the i-th of nativeFunctions.
 */
export const hostCall = {
  nativeBase: 1_000_000,
  nextKey: 2_000_000,
  nextMember: 2_000_001,
  numberHash: 2_000_002,
  keyText: 2_000_003,
} as const

/** Layout of values, and their types. */
export const layout = {
  number: 3,
  string: 4,
  array: 5,
  object: 6,
  set: 7,
  internedString: 8,
  representation: 1,
  integer: 1,
  numberText: 8,
  numberLength: 12,
  stringLength: 4,
  stringText: 8,
  buckets: 4,
  bucketCount: 8,
  /** Number of members of an array, object or set. */
  lengthOf: { 5: 8, 6: 12, 7: 12 },
} as const

/** The most digits of an integer that is exact in every representation involved. */
const maxPlainDigits = 15
const maxPlainElements = 64

const dispatchers = ['opa_builtin0', 'opa_builtin1', 'opa_builtin2', 'opa_builtin3', 'opa_builtin4']

/** Functions of the runtime in which the order of keys shows in the result. */
const walkers = ['opa_value_transitive_closure', '__opa_value_transitive_closure']

/** Functions that Verdict's own need; a module without one of them is not OPA's. */
const required = [
  ...dispatchers,
  'eval',
  'opa_value_iter',
  'opa_value_get',
  'opa_value_compare',
  'opa_value_length',
  'opa_array_append',
  'opa_json_writer_emit_collection',
  'opa_json_writer_emit_object_element',
  'opa_json_dump',
  'opa_json_writer_write',
  'opa_number_hash',
]

/**
 * @param wasm a module that WebAssembly.validate accepts
 * @throws RangeError naming the function that the module's name section lacks
 */
export function makeExact(wasm: Uint8Array): Uint8Array {
  const patch = new ModulePatch(wasm)
  for (const name of required) if (!patch.names.has(name)) throw new RangeError(`the module does not name its function \`${name}\``)
  const runtime = new ExactRuntime(patch)
  const policyCalls = runtime.wrapNativeFunctions()
  runtime.wrapCopies(policyCalls)
  const nextKey = runtime.addOrdered(hostCall.nextKey)
  const nextMember = runtime.addOrdered(hostCall.nextMember)
  const strictNextKey = runtime.addStrictNextKey(nextKey)
  const runtimeCalls = runtime.repairNumbers()
  runtimeCalls.set(growMemory, runtime.addGrow())
  const keyText = runtime.addKeyText(1)
  const keyTextOfWriter = runtime.addKeyText(2)

  const iterate = runtime.named('opa_value_iter')
  const append = runtime.named('opa_array_append')
  const ordered = new Map([[runtime.named('opa_json_writer_emit_collection'), nextMember]])
  for (const name of walkers) if (patch.names.has(name)) ordered.set(runtime.named(name), nextKey)
  const memberWriter = runtime.named('opa_json_writer_emit_object_element')
  // Where the C compiler put opa_json_dump in line, its only call is the one of the writer.
  const [dump, write] = [runtime.named('opa_json_dump'), runtime.named('opa_json_writer_write')]
  const compiled = compiledFunctions(patch)
  for (const index of patch.definedFunctions()) {
    const next = ordered.get(index)
    if (index === memberWriter)
      patch.redirectCalls(index, (calls) =>
        calls.map(({ target }) => (target === dump ? keyText : target === write ? keyTextOfWriter : undefined)),
      )
    else if (next !== undefined) patch.redirectCalls(index, (calls) => calls.map(({ target }) => (target === iterate ? next : undefined)))
    else if (!compiled.has(index)) patch.redirectCalls(index, (calls) => calls.map(({ target }) => runtimeCalls.get(target)))
    else {
      patch.redirectCalls(index, (calls) => {
        const appending = loopsThatAppend(calls, append)
        return calls.map(({ target, loops }) => {
          if (target !== iterate) return policyCalls.get(target) ?? runtimeCalls.get(target)
          return appending.has(loops.at(-1)) ? nextKey : strictNextKey
        })
      })
    }
  }
  patch.exportFunction(compareExport, runtime.named('opa_value_compare'))
  return patch.toBytes()
}

/** Functions that were compiled from Rego rather than from C. */
function compiledFunctions(patch: ModulePatch): Set<number> {
  const compiled = new Set<number>()
  for (const [name, index] of patch.names) if (name === 'eval' || /^g\d+\./.test(name)) compiled.add(index)
  return compiled
}

/** Loops in which an array grows: the order of their turns shows in the result. */
function loopsThatAppend(calls: readonly Call[], append: number): Set<number | undefined> {
  const ordered = new Set<number | undefined>()
  for (const { target, loops } of calls) if (target === append) for (const loop of loops) ordered.add(loop)
  return ordered
}

class ExactRuntime {
  readonly #patch: ModulePatch
  readonly #strict: number

  constructor(patch: ModulePatch) {
    this.#patch = patch
    this.#strict = patch.addGlobal(strictExport)
  }

  named(name: string): number {
    return this.#patch.names.get(name) as number
  }

  /** A function for each native one that the module has; from the native function to the new one. */
  wrapNativeFunctions(): Map<number, number> {
    const plain = this.#addIsPlain()
    const guards: Record<Trust, (parameters: number) => Code> = {
      exact: () => w.i32(1),
      never: () => w.i32(0),
      integers: (parameters) => [...range(parameters).flatMap((i) => [...w.get(i), ...w.call(plain)]), ...and(parameters)],
      elements: () => [...w.get(0), ...w.call(this.#addArePlain(plain))],
      needle: () => [...w.get(1), ...w.call(this.named('opa_value_length'))],
      array: () => [...w.get(1), ...w.loadByte(0), ...w.i32(layout.set), ...w.notEqual],
    }
    const wrappers = new Map<number, number>()
    nativeFunctions.forEach(({ symbol, parameters, trust }, i) => {
      const native = this.#patch.names.get(symbol)
      if (native === undefined || wrappers.has(native)) return
      const args = range(parameters).flatMap((p) => w.get(p))
      const host = [...w.i32(hostCall.nativeBase + i), ...w.i32(0), ...args, ...w.call(this.named(dispatchers[parameters] as string))]
      const result = parameters
      const trusted = [
        ...args,
        ...w.call(native),
        ...w.tee(result),
        ...w.choose(w.get(result), [...w.globalGet(this.#strict), ...w.choose(host, w.i32(0))]),
      ]
      const code = trust === 'never' ? host : trust === 'exact' ? trusted : [...guards[trust](parameters), ...w.choose(trusted, host)]
      wrappers.set(native, this.#patch.addFunction(parameters, 1, code))
    })
    return wrappers
  }

  /**
   * A `with input.a as …` copies input and writes into the copy without asking whether it is an object: an input that
   * is none would have the runtime write over other values. OPA puts an object in its place.
   */
  wrapCopies(policyCalls: Map<number, number>): void {
    const copy = this.#patch.names.get('opa_value_shallow_copy')
    const object = this.#patch.names.get('opa_object')
    if (copy === undefined || object === undefined) return
    const isObject = [...w.get(0), ...w.loadByte(0), ...w.i32(layout.object), ...w.equal]
    policyCalls.set(copy, this.#patch.addFunction(1, 0, isObject, w.choose([...w.get(0), ...w.call(copy)], w.call(object))))
  }

  /** opa_value_iter, but objects and sets of more than one member in an order that the host finds. */
  addOrdered(id: number): number {
    const [node, previous, type] = [0, 1, 2]
    return this.#patch.addFunction(
      2,
      1,
      w.get(node),
      w.if(
        w.get(node),
        w.loadByte(0),
        w.tee(type),
        w.i32(layout.object),
        w.equal,
        w.get(type),
        w.i32(layout.set),
        w.equal,
        w.or,
        w.if(
          w.get(node),
          w.loadI32(layout.lengthOf[layout.set]),
          w.i32(1),
          w.greaterUnsigned,
          w.if(w.i32(id), w.i32(0), w.get(node), w.get(previous), w.call(this.named('opa_builtin2')), w.return),
        ),
      ),
      w.get(node),
      w.get(previous),
      w.call(this.named('opa_value_iter')),
    )
  }

  /**
   * What a key that is no string becomes in JSON, where OPA escapes more than the runtime does.
   * @param parameters the key is the last one
   */
  addKeyText(parameters: number): number {
    const key = w.get(parameters - 1)
    return this.#patch.addFunction(parameters, 0, w.i32(hostCall.keyText), w.i32(0), key, w.call(this.named('opa_builtin1')))
  }

  /** Grows memory by more than asked, and takes what is asked from the rest the next time. */
  addGrow(): number {
    const spare = this.#patch.addGlobal(sparePagesExport)
    const pages = 0
    return this.#patch.addFunction(
      1,
      0,
      w.globalGet(spare),
      w.get(pages),
      w.lessUnsigned,
      w.if(
        w.get(pages),
        w.i32(growthPages),
        w.add,
        w.memoryGrow,
        w.i32(-1),
        w.equal,
        w.if(w.get(pages), w.memoryGrow, w.return),
        w.globalGet(spare),
        w.i32(growthPages),
        w.add,
        w.globalSet(spare),
        w.i32(0),
        w.return,
      ),
      w.globalGet(spare),
      w.get(pages),
      w.subtract,
      w.globalSet(spare),
      w.i32(0),
    )
  }

  /** In strict evaluations the order decides which error comes first. */
  addStrictNextKey(nextKey: number): number {
    const args = [...w.get(0), ...w.get(1)]
    return this.#patch.addFunction(
      2,
      0,
      w.globalGet(this.#strict),
      w.choose([...args, ...w.call(nextKey)], [...args, ...w.call(this.named('opa_value_iter'))]),
    )
  }

  /**
   * Two faults of the runtime: its hash of a number differs for equal numbers written differently (1 and 100e-2), and
   * its conversion of integers beyond 32 bits to decimals takes the low 32 bits.
   */
  repairNumbers(): Map<number, number> {
    const repaired = new Map<number, number>()
    const isShort = this.#addIsPlain()
    const hash = this.named('opa_number_hash')
    repaired.set(
      hash,
      this.#patch.addFunction(
        1,
        0,
        w.get(0),
        w.call(isShort),
        w.choose(
          [...w.get(0), ...w.call(hash)],
          [...w.i32(hostCall.numberHash), ...w.i32(0), ...w.get(0), ...w.call(this.named('opa_builtin1'))],
        ),
      ),
    )
    const toDecimal = this.#patch.names.get('opa_number_to_bf')
    if (toDecimal !== undefined) {
      // A module that converts to decimals has what turns them into text, too.
      const [value, text] = [0, 1]
      repaired.set(
        toDecimal,
        this.#patch.addFunction(
          1,
          1,
          isIntegerRepresentation(value),
          w.if(
            w.get(value),
            w.loadI64(layout.numberText),
            w.i32FromI64,
            w.i64FromI32,
            w.get(value),
            w.loadI64(layout.numberText),
            w.i64Equal,
            w.isZero,
            w.if(
              w.i32(32),
              w.call(this.named('opa_malloc')),
              w.set(text),
              w.get(value),
              w.loadI64(layout.numberText),
              w.get(text),
              w.i32(10),
              w.call(this.named('opa_itoa')),
              w.drop,
              w.get(text),
              w.get(text),
              w.call(this.named('opa_strlen')),
              w.call(this.named('opa_number_ref')),
              w.set(value),
            ),
          ),
          w.get(value),
          w.call(toDecimal),
        ),
      )
    }
    return repaired
  }

  /** Whether a value is no number, or an integer that is written plainly: digits, at most 15, no `-0`. */
  #addIsPlain(): number {
    const [value, text, left, char] = [0, 1, 2, 3]
    return this.#patch.addFunction(
      1,
      3,
      w.get(value),
      w.isZero,
      w.if(w.i32(1), w.return),
      w.get(value),
      w.loadByte(0),
      w.i32(layout.number),
      w.notEqual,
      w.if(w.i32(1), w.return),
      isIntegerRepresentation(value),
      w.if(w.i32(1), w.return),
      w.get(value),
      w.loadI32(layout.numberText),
      w.set(text),
      w.get(value),
      w.loadI32(layout.numberLength),
      w.tee(left),
      w.i32(maxPlainDigits),
      w.greaterUnsigned,
      w.if(w.i32(0), w.return),
      w.get(text),
      w.loadByte(0),
      w.i32('-'.charCodeAt(0)),
      w.equal,
      w.if(
        w.get(text),
        w.i32(1),
        w.add,
        w.tee(text),
        w.loadByte(0),
        w.i32('0'.charCodeAt(0)),
        w.equal,
        w.if(w.i32(0), w.return),
        w.get(left),
        w.i32(1),
        w.subtract,
        w.set(left),
      ),
      w.loop(
        w.get(text),
        w.loadByte(0),
        w.i32('0'.charCodeAt(0)),
        w.subtract,
        w.tee(char),
        w.i32(9),
        w.greaterUnsigned,
        w.if(w.i32(0), w.return),
        w.get(text),
        w.i32(1),
        w.add,
        w.set(text),
        w.get(left),
        w.i32(1),
        w.subtract,
        w.tee(left),
        w.branchIf(0),
      ),
      w.i32(1),
    )
  }

  /** Whether a collection has at most 64 members, all of them plain numbers, strings, booleans or null. */
  #addArePlain(plain: number): number {
    const [collection, key, member] = [0, 1, 2]
    return this.#patch.addFunction(
      1,
      2,
      w.get(collection),
      w.call(this.named('opa_value_length')),
      w.i32(maxPlainElements),
      w.greaterUnsigned,
      w.if(w.i32(0), w.return),
      w.block(
        w.loop(
          w.get(collection),
          w.get(key),
          w.call(this.named('opa_value_iter')),
          w.tee(key),
          w.isZero,
          w.branchIf(1),
          w.get(collection),
          w.get(key),
          w.call(this.named('opa_value_get')),
          w.tee(member),
          w.loadByte(0),
          w.i32(layout.array),
          w.subtract,
          w.i32(layout.set - layout.array + 1),
          w.lessUnsigned,
          w.if(w.i32(0), w.return),
          w.get(member),
          w.call(plain),
          w.isZero,
          w.if(w.i32(0), w.return),
          w.branch(0),
        ),
      ),
      w.i32(1),
    )
  }
}

/** Whether a value is a number that is kept as a 64-bit integer. */
function isIntegerRepresentation(value: number): Code {
  const isNumber = [...w.get(value), ...w.loadByte(0), ...w.i32(layout.number), ...w.equal]
  return [...isNumber, ...w.get(value), ...w.loadByte(layout.representation), ...w.i32(layout.integer), ...w.equal, ...w.and]
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** Combines as many truth values as are on the stack. */
function and(count: number): Code {
  return range(count - 1).flatMap(() => w.and)
}
