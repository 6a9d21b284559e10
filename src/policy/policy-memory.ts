// Values in the memory of a running policy.wasm, read and made by the host.
import { layout } from './runtime-layout.ts'

interface ValueExports {
  opa_malloc(bytes: number): number
  opa_free(address: number): void
  opa_json_dump(value: number): number
  opa_value_dump(value: number): number
  opa_value_parse(text: number, bytes: number): number
}

export class PolicyMemory {
  readonly #memory: WebAssembly.Memory
  #exports!: ValueExports
  #bytes: Buffer
  #view: DataView

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory
    this.#bytes = Buffer.from(memory.buffer)
    this.#view = new DataView(memory.buffer)
  }

  /** Must be called before values are made; the memory exists before the instance does. */
  attach(instance: WebAssembly.Instance): void {
    this.#exports = instance.exports as unknown as ValueExports
  }

  /** Bytes held. */
  get size(): number {
    return this.#memory.buffer.byteLength
  }

  /** All of memory as it is now; valid until it grows. */
  bytes(): Buffer {
    if (this.#bytes.length === 0) this.#renew()
    return this.#bytes
  }

  /** Growing memory leaves views of nothing behind. */
  #renew(): void {
    this.#bytes = Buffer.from(this.#memory.buffer)
    this.#view = new DataView(this.#memory.buffer)
  }

  /** The 32-bit word at an address; OPA's allocator does not align. */
  word(address: number): number {
    if (this.#bytes.length === 0) this.#renew()
    return this.#view.getUint32(address, true)
  }

  /** A string that ends with a zero byte. */
  readString(address: number): string {
    const bytes = this.bytes()
    return bytes.toString('utf8', address, bytes.indexOf(0, address))
  }

  typeOf(value: number): number {
    return this.bytes()[value] as number
  }

  isString(value: number): boolean {
    const type = this.typeOf(value)
    return type === layout.string || type === layout.internedString
  }

  /** The text of a string; bytes that are not UTF-8 become U+FFFD. */
  stringText(value: number): string {
    const from = this.word(value + layout.stringText)
    return this.bytes().toString('utf8', from, from + this.word(value + layout.stringLength))
  }

  /** The digits of a number as they were written. */
  numberText(value: number): string {
    const bytes = this.bytes()
    if (bytes[value + layout.representation] === layout.integer) return bytes.readBigInt64LE(value + layout.numberText).toString()
    const from = bytes.readUInt32LE(value + layout.numberText)
    return bytes.toString('latin1', from, from + bytes.readUInt32LE(value + layout.numberLength))
  }

  /** What a value becomes as a key in JSON: a string itself, anything else its JSON text, with OPA's escapes. */
  jsonKey(value: number): string {
    const text = this.readString(this.#exports.opa_json_dump(value))
    return text.startsWith('"') ? (JSON.parse(text) as string) : text.replace(/[<>&\u2028\u2029]/g, escapeUnit)
  }

  /** A string that ends with a zero byte, to be freed by opa_free. */
  makeCString(text: string): number {
    const bytes = Buffer.from(`${text}\0`)
    const address = this.#exports.opa_malloc(bytes.length)
    this.bytes().set(bytes, address)
    return address
  }

  /** Values in the form that opa_value_dump writes: views, valid until memory changes. */
  dump(values: readonly number[]): Buffer[] {
    const addresses: number[] = []
    for (const value of values) addresses.push(this.#exports.opa_value_dump(value))
    const bytes = this.bytes()
    return addresses.map((address) => bytes.subarray(address, bytes.indexOf(0, address)))
  }

  /** @returns the value's address; zero where the text is none */
  parse(text: Uint8Array): number {
    const address = this.#exports.opa_malloc(text.length)
    this.bytes().set(text, address)
    const value = this.#exports.opa_value_parse(address, text.length)
    this.#exports.opa_free(address)
    return value
  }

  makeBoolean(truth: boolean): number {
    const value = this.#exports.opa_malloc(8)
    this.bytes().set([layout.boolean, truth ? 1 : 0], value)
    return value
  }

  /** A string of any bytes, UTF-8 or not. */
  makeString(text: Uint8Array): number {
    const value = this.#exports.opa_malloc(16)
    const address = this.#exports.opa_malloc(Math.max(text.length, 1))
    const bytes = this.bytes()
    bytes.set(text, address)
    bytes.writeUInt32LE(layout.string, value)
    bytes.writeUInt32LE(text.length, value + layout.stringLength)
    bytes.writeUInt32LE(address, value + layout.stringText)
    return value
  }
}

/** The next multiple of 8; addresses go up to 4 GiB, beyond what bit operations give without a sign. */
export function align(address: number): number {
  return ((address + 7) & ~7) >>> 0
}

function escapeUnit(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}
