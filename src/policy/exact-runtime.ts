// What is changed in a policy.wasm so that it answers as OPA's own evaluator does.
//
// A policy.wasm carries OPA's runtime, written in C. Its functions differ from OPA's in places: what is an error there
// is undefined here, arithmetic is decimal, sets come out in the order of their hashes. So the policy's calls of
// native functions go through functions added here, which ask the host where the native one cannot be trusted
// (native-functions.ts), and errors are told from undefined by the host when they are strict.
// Calls are told by the names in the module's name section; runtime-layout.ts has what the host and the module agree on.
import { type Code, asm as w } from '../wasm/assembler.ts'
import { type Call, growMemory, ModulePatch } from '../wasm/patch.ts'
import { nativeFunctions, type Trust } from './native-functions.ts'
import { addOrdered } from './ordered-iteration.ts'
import { addArePlain, addIsPlain } from './plain-values.ts'
import { compareExport, hostCall, layout, strictExport } from './runtime-layout.ts'
import { addGrow, addKeyText, keepData, repairNumbers, wrapCopies } from './runtime-repairs.ts'

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
  for (const name of required) patch.functionNamed(name)
  const runtime = new ExactRuntime(patch)
  const policyCalls = runtime.wrapNativeFunctions()
  wrapCopies(patch, policyCalls)
  const nextKey = addOrdered(patch, hostCall.nextKey)
  const nextMember = addOrdered(patch, hostCall.nextMember)
  const strictNextKey = runtime.addStrictNextKey(nextKey)
  const runtimeCalls = repairNumbers(patch, runtime.isPlain)
  runtimeCalls.set(growMemory, addGrow(patch))
  for (const [free, kept] of keepData(patch)) runtimeCalls.set(free, kept)
  const keyText = addKeyText(patch, 1)
  const keyTextOfWriter = addKeyText(patch, 2)

  const iterate = patch.functionNamed('opa_value_iter')
  const append = patch.functionNamed('opa_array_append')
  const ordered = new Map([[patch.functionNamed('opa_json_writer_emit_collection'), nextMember]])
  for (const name of walkers) if (patch.names.has(name)) ordered.set(patch.functionNamed(name), nextKey)
  const memberWriter = patch.functionNamed('opa_json_writer_emit_object_element')
  // Where the C compiler put opa_json_dump in line, its only call is the one of the writer.
  const [dump, write] = [patch.functionNamed('opa_json_dump'), patch.functionNamed('opa_json_writer_write')]
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
  patch.exportFunction(compareExport, patch.functionNamed('opa_value_compare'))
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
  readonly isPlain: number

  constructor(patch: ModulePatch) {
    this.#patch = patch
    this.#strict = patch.addGlobal(strictExport)
    this.isPlain = addIsPlain(patch)
  }

  /** A function for each native one that the module has; from the native function to the new one. */
  wrapNativeFunctions(): Map<number, number> {
    const guards: Record<Trust, (parameters: number) => Code> = {
      exact: () => w.i32(1),
      never: () => w.i32(0),
      integers: (parameters) => [...range(parameters).flatMap((i) => [...w.get(i), ...w.call(this.isPlain)]), ...and(parameters)],
      elements: () => [...w.get(0), ...w.call(addArePlain(this.#patch, this.isPlain))],
      needle: () => [...w.get(1), ...w.call(this.#patch.functionNamed('opa_value_length'))],
      array: () => [...w.get(1), ...w.loadByte(0), ...w.i32(layout.set), ...w.notEqual],
    }
    const wrappers = new Map<number, number>()
    nativeFunctions.forEach(({ symbol, parameters, trust }, i) => {
      const native = this.#patch.names.get(symbol)
      if (native === undefined || wrappers.has(native)) return
      const args = range(parameters).flatMap((p) => w.get(p))
      const host = [
        ...w.i32(hostCall.nativeBase + i),
        ...w.i32(0),
        ...args,
        ...w.call(this.#patch.functionNamed(dispatchers[parameters] as string)),
      ]
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

  /** In strict evaluations the order decides which error comes first. */
  addStrictNextKey(nextKey: number): number {
    const args = [...w.get(0), ...w.get(1)]
    return this.#patch.addFunction(
      2,
      0,
      w.globalGet(this.#strict),
      w.choose([...args, ...w.call(nextKey)], [...args, ...w.call(this.#patch.functionNamed('opa_value_iter'))]),
    )
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** Combines as many truth values as are on the stack. */
function and(count: number): Code {
  return range(count - 1).flatMap(() => w.and)
}
