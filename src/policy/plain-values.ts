// Functions added to a policy.wasm that tell plain values: those on which OPA's C functions agree with its Go ones.
import { type Code, asm as w } from '../wasm/assembler.ts'
import type { ModulePatch } from '../wasm/patch.ts'
import { layout } from './runtime-layout.ts'

/** The most digits of an integer that is exact in every representation involved. */
const maxPlainDigits = 15
const maxPlainElements = 64

/** Whether a value is no number, or an integer that is written plainly: digits, at most 15, no `-0`. */
export function addIsPlain(patch: ModulePatch): number {
  const [value, text, left, char] = [0, 1, 2, 3]
  return patch.addFunction(
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
export function addArePlain(patch: ModulePatch, plain: number): number {
  const [collection, key, member] = [0, 1, 2]
  return patch.addFunction(
    1,
    2,
    w.get(collection),
    w.call(patch.functionNamed('opa_value_length')),
    w.i32(maxPlainElements),
    w.greaterUnsigned,
    w.if(w.i32(0), w.return),
    w.block(
      w.loop(
        w.get(collection),
        w.get(key),
        w.call(patch.functionNamed('opa_value_iter')),
        w.tee(key),
        w.isZero,
        w.branchIf(1),
        w.get(collection),
        w.get(key),
        w.call(patch.functionNamed('opa_value_get')),
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

/** Whether a value is a number that is kept as a 64-bit integer. */
export function isIntegerRepresentation(value: number): Code {
  const isNumber = [...w.get(value), ...w.loadByte(0), ...w.i32(layout.number), ...w.equal]
  return [...isNumber, ...w.get(value), ...w.loadByte(layout.representation), ...w.i32(layout.integer), ...w.equal, ...w.and]
}
