// A cursor over the binary format of WebAssembly: LEB128 integers, sections, and the length of instructions.
// Not a validator: WebAssembly.validate has accepted the bytes before they come here.
// @see WebAssembly Core Specification 2.0, §5 "Binary Format"
import { unsigned } from './assembler.ts'

/** One section of a module: its ID (0 to 12) and its content without the header. */
export interface WasmSection {
  readonly id: number
  body: Uint8Array
}

/** What a module imports; names are left out. */
export interface WasmImport {
  readonly kind: 'function' | 'table' | 'memory' | 'global'
  readonly minimum?: number
}

export class WasmReader {
  readonly bytes: Uint8Array
  offset: number

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
  }

  byte(): number {
    return this.bytes[this.offset++] as number
  }

  u32(): number {
    let result = 0
    let factor = 1
    let byte = 0
    do {
      byte = this.byte()
      result += (byte & 0x7f) * factor
      factor *= 128
    } while (byte & 0x80)
    return result
  }

  /** Passes over any LEB128 integer. */
  skipLeb(): void {
    while (this.byte() & 0x80);
  }

  /** Passes over a vector of LEB128 integers. */
  skipLebs(count: number): void {
    for (let i = 0; i < count; i++) this.skipLeb()
  }

  skipName(): void {
    const length = this.u32()
    this.offset += length
  }

  name(): string {
    const length = this.u32()
    this.offset += length
    return new TextDecoder().decode(this.bytes.subarray(this.offset - length, this.offset))
  }

  /** Reads a table or memory limit and returns its minimum. */
  limits(): number {
    const flags = this.byte()
    const minimum = this.u32()
    if (flags & 1) this.skipLeb()
    return minimum
  }

  /** Reads one entry of the import section. */
  importEntry(): WasmImport {
    this.skipName()
    this.skipName()
    const kind = this.byte()
    switch (kind) {
      case 0:
        this.skipLeb()
        return { kind: 'function' }
      case 1:
        this.skipLeb()
        return { kind: 'table', minimum: this.limits() }
      case 2:
        return { kind: 'memory', minimum: this.limits() }
      default: // a global: value type and mutability
        this.offset += 2
        return { kind: 'global' }
    }
  }

  /** Passes over what follows the opcode of one instruction; the opcode has been read. */
  skipImmediates(opcode: number): void {
    if (opcode >= 0x28 && opcode <= 0x3e) {
      this.skipLebs(2) // memory access: alignment, offset
      return
    }
    switch (opcode) {
      case 0x02: // block, loop, if: a block type, at most 33 bits signed
      case 0x03:
      case 0x04:
      case 0x0c: // br, br_if, call, local.*, global.*, table.*, i32.const, i64.const, memory.*, ref.null, ref.func
      case 0x0d:
      case 0x10:
      case 0x20:
      case 0x21:
      case 0x22:
      case 0x23:
      case 0x24:
      case 0x25:
      case 0x26:
      case 0x3f:
      case 0x40:
      case 0x41:
      case 0x42:
      case 0xd0:
      case 0xd2:
        this.skipLeb()
        return
      case 0x0e: // br_table
        this.skipLebs(this.u32() + 1)
        return
      case 0x11: // call_indirect
        this.skipLebs(2)
        return
      case 0x1c: // select with types
        this.skipLebs(this.u32())
        return
      case 0x43: // f32.const
        this.offset += 4
        return
      case 0x44: // f64.const
        this.offset += 8
        return
      case 0xfc:
        this.skipLebs(prefixedImmediates[this.u32()] ?? 0)
        return
      default:
        if (opcode > 0xc4) throw new RangeError(`instruction \`0x${opcode.toString(16)}\` is not supported`)
    }
  }
}

/** Number of integers after each instruction of the 0xfc page: saturating truncations have none. */
const prefixedImmediates: Readonly<Record<number, number>> = {
  8: 2, // memory.init
  9: 1, // data.drop
  10: 2, // memory.copy
  11: 1, // memory.fill
  12: 2, // table.init
  13: 1, // elem.drop
  14: 2, // table.copy
  15: 1, // table.grow
  16: 1, // table.size
  17: 1, // table.fill
}

export function readSections(wasm: Uint8Array): WasmSection[] {
  const sections: WasmSection[] = []
  const reader = new WasmReader(wasm, 8)
  while (reader.offset < wasm.length) {
    const id = reader.byte()
    const length = reader.u32()
    sections.push({ id, body: wasm.subarray(reader.offset, reader.offset + length) })
    reader.offset += length
  }
  return sections
}

export function writeSections(header: Uint8Array, sections: readonly WasmSection[]): Uint8Array {
  const parts: Uint8Array[] = [header]
  for (const { id, body } of sections) parts.push(Uint8Array.of(id), encodeU32(body.length), body)
  return concat(parts)
}

/** The section with an ID; an empty one is put in its place where the module has none. */
export function sectionOf(sections: WasmSection[], id: number): WasmSection {
  const found = sections.find((s) => s.id === id)
  if (found !== undefined) return found
  const added: WasmSection = { id, body: Uint8Array.of(0) }
  const at = sections.findIndex((s) => s.id > id)
  sections.splice(at < 0 ? sections.length : at, 0, added)
  return added
}

/** Adds exports of functions (kind 0) and globals (kind 3). */
export function appendExports(exports: WasmSection, added: readonly { name: string; kind: 0 | 3; index: number }[]): void {
  const reader = new WasmReader(exports.body)
  const count = reader.u32()
  const entries = added.flatMap(({ name, kind, index }) => {
    const bytes = new TextEncoder().encode(name)
    return [encodeU32(bytes.length), bytes, Uint8Array.of(kind), encodeU32(index)]
  })
  exports.body = concat([encodeU32(count + added.length), exports.body.subarray(reader.offset), ...entries])
}

export function encodeU32(value: number): Uint8Array {
  return Uint8Array.from(unsigned(value))
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const all = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}
