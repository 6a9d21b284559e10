// Rewrites a WebAssembly module so that it counts its steps and stops when they are used up.
//
// A step is one turn of a loop or one call of a function that calls others; between two steps only a bounded
// number of instructions can run, so a bound on steps bounds the work. The count depends on nothing but the
// module and its input: every replica stops at the same place. No clock is involved.
//
// The rewritten module also exports its mutable globals (the C stack pointer among them), so that a host can put
// an instance back into an earlier state after a trap left it half-way (see snapshot.ts).
import { appendExports, concat, encodeU32, readSections, sectionOf, WasmReader, type WasmSection, writeSections } from './binary.ts'

/** Name of the exported global that holds the steps left. Zero: the next step traps. */
export const stepsExport = 'verdict_steps_left'
/** Prefix of the names under which mutable globals are exported. */
export const globalExportPrefix = 'verdict_global_'

export interface MeterOptions {
  /** Type of the counter: i32 is faster to set from JavaScript, i64 counts beyond 2,147,483,647. */
  readonly counter: 'i32' | 'i64'
}

const section = { import: 2, global: 6, export: 7, code: 10 } as const

/**
 * @param wasm a module that WebAssembly.validate accepts
 * @throws RangeError when the module uses instructions beyond WebAssembly 1.0, bulk memory and reference types
 */
export function meter(wasm: Uint8Array, options: MeterOptions = { counter: 'i32' }): Uint8Array {
  const sections = readSections(wasm)
  const find = (id: number): WasmSection => sectionOf(sections, id)
  const importedGlobals = countImportedGlobals(find(section.import).body)
  const globals = find(section.global)
  const mutable = listMutableGlobals(globals.body, importedGlobals)
  const counterIndex = appendGlobal(globals, importedGlobals, options)

  const exports: { name: string; kind: 3; index: number }[] = [{ name: stepsExport, kind: 3, index: counterIndex }]
  for (const index of mutable) exports.push({ name: `${globalExportPrefix}${index}`, kind: 3, index })
  appendExports(find(section.export), exports)

  const code = find(section.code)
  code.body = meterCode(code.body, stepCheck(counterIndex, options))
  return writeSections(wasm.subarray(0, 8), sections)
}

function countImportedGlobals(body: Uint8Array): number {
  const reader = new WasmReader(body)
  let globals = 0
  for (let left = reader.u32(); left > 0; left--) if (reader.importEntry().kind === 'global') globals++
  return globals
}

function listMutableGlobals(body: Uint8Array, firstIndex: number): number[] {
  const reader = new WasmReader(body)
  const mutable: number[] = []
  const count = reader.u32()
  for (let i = 0; i < count; i++) {
    reader.skipLeb()
    if (reader.byte() === 1) mutable.push(firstIndex + i)
    for (let opcode = reader.byte(); opcode !== 0x0b; opcode = reader.byte()) reader.skipImmediates(opcode)
  }
  return mutable
}

function appendGlobal(globals: WasmSection, imported: number, options: MeterOptions): number {
  const reader = new WasmReader(globals.body)
  const count = reader.u32()
  // mutable, initially the largest number of the type, so that start-up code runs unbounded
  const maximum = options.counter === 'i32' ? [0x7f, 1, 0x41, 0xff, 0xff, 0xff, 0xff, 0x07] : [0x7e, 1, 0x42, ...maxI64]
  globals.body = concat([encodeU32(count + 1), globals.body.subarray(reader.offset), Uint8Array.of(...maximum, 0x0b)])
  return imported + count
}

const maxI64 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]

/** if (left == 0) unreachable; left = left - 1 */
function stepCheck(counter: number, options: MeterOptions): Uint8Array {
  const index = encodeU32(counter)
  const [isZero, one, subtract] = options.counter === 'i32' ? [0x45, 0x41, 0x6b] : [0x50, 0x42, 0x7d]
  return concat([
    Uint8Array.of(0x23),
    index,
    Uint8Array.of(isZero, 0x04, 0x40, 0x00, 0x0b, 0x23),
    index,
    Uint8Array.of(one, 1, subtract, 0x24),
    index,
  ])
}

function meterCode(body: Uint8Array, check: Uint8Array): Uint8Array {
  const reader = new WasmReader(body)
  const count = reader.u32()
  const parts: Uint8Array[] = [encodeU32(count)]
  for (let i = 0; i < count; i++) {
    const length = reader.u32()
    const end = reader.offset + length
    const metered = meterFunction(reader, end, check)
    parts.push(encodeU32(metered.length), metered)
  }
  return concat(parts)
}

function meterFunction(reader: WasmReader, end: number, check: Uint8Array): Uint8Array {
  const start = reader.offset
  for (let groups = reader.u32(); groups > 0; groups--) {
    reader.skipLeb()
    reader.skipLeb()
  }
  const bodyStart = reader.offset
  const loops: number[] = []
  let calls = false
  while (reader.offset < end) {
    const opcode = reader.byte()
    reader.skipImmediates(opcode)
    if (opcode === 0x03) loops.push(reader.offset)
    else if (opcode === 0x10 || opcode === 0x11) calls = true
  }
  const insertions = calls ? [bodyStart, ...loops] : loops
  const parts: Uint8Array[] = []
  let from = start
  for (const at of insertions) {
    parts.push(reader.bytes.subarray(from, at), check)
    from = at
  }
  parts.push(reader.bytes.subarray(from, end))
  return concat(parts)
}
