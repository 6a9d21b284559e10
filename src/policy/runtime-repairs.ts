// Faults and costs of OPA's C runtime that are mended in every policy.wasm, whatever the policy calls. Each function here
// adds one to the module and gives its index; exact-runtime.ts says which calls go there.
import { asm as w } from '../wasm/assembler.ts'
import type { ModulePatch } from '../wasm/patch.ts'
import { isIntegerRepresentation } from './plain-values.ts'
import { dataEndExport, hostCall, layout, sparePagesExport } from './runtime-layout.ts'

/** Memory grows by this much more than was asked for: each growth takes the engine long. Pages of 64 KiB. */
const growthPages = 64

/**
 * Two faults of the runtime: its hash of a number differs for equal numbers written differently (1 and 100e-2), and
 * its conversion of integers beyond 32 bits to decimals takes the low 32 bits.
 */
export function repairNumbers(patch: ModulePatch, isPlain: number): Map<number, number> {
  const repaired = new Map<number, number>()
  const hash = patch.functionNamed('opa_number_hash')
  repaired.set(
    hash,
    patch.addFunction(
      1,
      0,
      w.get(0),
      w.call(isPlain),
      w.choose(
        [...w.get(0), ...w.call(hash)],
        [...w.i32(hostCall.numberHash), ...w.i32(0), ...w.get(0), ...w.call(patch.functionNamed('opa_builtin1'))],
      ),
    ),
  )
  const toDecimal = patch.names.get('opa_number_to_bf')
  if (toDecimal !== undefined) {
    // A module that reads JSON has what turns them into text, too.
    const [value, text] = [0, 1]
    repaired.set(
      toDecimal,
      patch.addFunction(
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
            w.call(patch.functionNamed('opa_malloc')),
            w.set(text),
            w.get(value),
            w.loadI64(layout.numberText),
            w.get(text),
            w.i32(10),
            w.call(patch.functionNamed('opa_itoa')),
            w.drop,
            w.get(text),
            w.get(text),
            w.call(patch.functionNamed('opa_strlen')),
            w.call(patch.functionNamed('opa_number_ref_allocated')),
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

/**
 * Grows memory by more than asked, and takes what is asked from the rest the next time. Gives zero, not the size that
 * was, since the allocator only looks for failure.
 */
export function addGrow(patch: ModulePatch): number {
  const spare = patch.addGlobal(sparePagesExport)
  const pages = 0
  return patch.addFunction(
    1,
    0,
    // The allocator asks for no pages to learn how many there are.
    w.get(pages),
    w.isZero,
    w.if(w.memorySize, w.globalGet(spare), w.subtract, w.return),
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

/**
 * Data that the host wrote is in no blocks of the allocator (data-writer.ts): giving it back does nothing.
 * @returns what to call instead of the functions that give memory back
 */
export function keepData(patch: ModulePatch): Map<number, number> {
  const end = patch.addGlobal(dataEndExport)
  const kept = new Map<number, number>()
  for (const name of ['opa_free', 'opa_free_bulk']) {
    const free = patch.names.get(name)
    if (free === undefined) continue
    const isBehind = [...w.get(0), ...w.globalGet(end), ...w.lessUnsigned, ...w.isZero]
    kept.set(free, patch.addProcedure(1, 0, isBehind, w.if(w.get(0), w.call(free))))
  }
  return kept
}

/**
 * A `with input.a as …` copies input and writes into the copy without asking whether it is an object: an input that
 * is none would have the runtime write over other values. OPA puts an object in its place.
 */
export function wrapCopies(patch: ModulePatch, policyCalls: Map<number, number>): void {
  const copy = patch.names.get('opa_value_shallow_copy')
  const object = patch.names.get('opa_object')
  if (copy === undefined || object === undefined) return
  const isObject = [...w.get(0), ...w.loadByte(0), ...w.i32(layout.object), ...w.equal]
  policyCalls.set(copy, patch.addFunction(1, 0, isObject, w.choose([...w.get(0), ...w.call(copy)], w.call(object))))
}

/**
 * What a key that is no string becomes in JSON, where OPA escapes more than the runtime does.
 * @param parameters the key is the last one
 */
export function addKeyText(patch: ModulePatch, parameters: number): number {
  const key = w.get(parameters - 1)
  return patch.addFunction(parameters, 0, w.i32(hostCall.keyText), w.i32(0), key, w.call(patch.functionNamed('opa_builtin1')))
}
