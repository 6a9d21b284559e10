// What a WebAssembly module says about its memory: how much it imports, what its data takes, how far its own may grow.
import { concat, encodeU32, readSections, sectionOf, WasmReader, writeSections } from './binary.ts'

/** Minimum of the imported memory in pages of 64 KiB; undefined when the module imports none. */
export function readMemoryImport(wasm: Uint8Array): number | undefined {
  const imports = readSections(wasm).find((s) => s.id === 2)
  if (imports === undefined) return undefined
  const reader = new WasmReader(imports.body)
  for (let left = reader.u32(); left > 0; left--) {
    const entry = reader.importEntry()
    if (entry.kind === 'memory') return entry.minimum
  }
  return undefined
}

/** Where the data that the module brings along ends, in bytes from the start of memory. */
export function readDataEnd(wasm: Uint8Array): number {
  const data = readSections(wasm).find((s) => s.id === 11)
  if (data === undefined) return 0
  const reader = new WasmReader(data.body)
  let end = 0
  for (let left = reader.u32(); left > 0; left--) {
    const [flags, opcode] = [reader.u32(), reader.byte()]
    if (flags !== 0 || opcode !== 0x41) throw new RangeError('data at an address that is not a constant is not supported')
    const offset = reader.u32()
    reader.offset++ // end of the expression
    const length = reader.u32()
    reader.offset += length
    end = Math.max(end, offset + length)
  }
  return end
}

/** A module whose own memory grows to no more than `pages` of 64 KiB. */
export function withMemoryMaximum(wasm: Uint8Array, pages: number): Uint8Array {
  const sections = readSections(wasm)
  const memory = sectionOf(sections, 5)
  const reader = new WasmReader(memory.body)
  if (reader.u32() !== 1) throw new RangeError('the module has no memory of its own')
  memory.body = concat([Uint8Array.of(1, 1), encodeU32(reader.limits()), encodeU32(pages)])
  return writeSections(wasm.subarray(0, 8), sections)
}
