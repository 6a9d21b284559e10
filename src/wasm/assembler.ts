// Instructions of WebAssembly as bytes, for the few functions that are added to a policy.wasm. Not a complete assembler.
// @see WebAssembly Core Specification 2.0, §5.4 "Instructions"

/** Encoded instructions. */
export type Code = readonly number[]

const i32Block = 0x7f
const emptyBlock = 0x40

export const asm = {
  get: (local: number): Code => [0x20, ...unsigned(local)],
  set: (local: number): Code => [0x21, ...unsigned(local)],
  tee: (local: number): Code => [0x22, ...unsigned(local)],
  globalGet: (index: number): Code => [0x23, ...unsigned(index)],
  globalSet: (index: number): Code => [0x24, ...unsigned(index)],
  call: (target: number): Code => [0x10, ...unsigned(target)],
  i32: (value: number): Code => [0x41, ...signed(value)],
  /** The unsigned byte at the address on the stack. */
  loadByte: (offset: number): Code => [0x2d, 0, ...unsigned(offset)],
  loadI32: (offset: number): Code => [0x28, 2, ...unsigned(offset)],
  loadI64: (offset: number): Code => [0x29, 3, ...unsigned(offset)],
  isZero: [0x45] as Code,
  equal: [0x46] as Code,
  notEqual: [0x47] as Code,
  lessSigned: [0x48] as Code,
  lessUnsigned: [0x49] as Code,
  greaterSigned: [0x4a] as Code,
  greaterUnsigned: [0x4b] as Code,
  add: [0x6a] as Code,
  subtract: [0x6b] as Code,
  multiply: [0x6c] as Code,
  and: [0x71] as Code,
  or: [0x72] as Code,
  i64Equal: [0x51] as Code,
  i32FromI64: [0xa7] as Code,
  i64FromI32: [0xac] as Code,
  memorySize: [0x3f, 0x00] as Code,
  memoryGrow: [0x40, 0x00] as Code,
  drop: [0x1a] as Code,
  return: [0x0f] as Code,
  /** Jumps to the label `depth` blocks outwards when the value on the stack is not zero. */
  branchIf: (depth: number): Code => [0x0d, ...unsigned(depth)],
  branch: (depth: number): Code => [0x0c, ...unsigned(depth)],
  block: (...body: Code[]): Code => [0x02, emptyBlock, ...body.flat(), 0x0b],
  loop: (...body: Code[]): Code => [0x03, emptyBlock, ...body.flat(), 0x0b],
  if: (...body: Code[]): Code => [0x04, emptyBlock, ...body.flat(), 0x0b],
  /** One of two i32 values. */
  choose: (whenTrue: Code, otherwise: Code): Code => [0x04, i32Block, ...whenTrue, 0x05, ...otherwise, 0x0b],
}

/** LEB128 of an integer that is not negative, below 2^53. */
export function unsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? low | 0x80 : low)
  } while (rest > 0)
  return bytes
}

/** LEB128 of a 32-bit signed integer. */
function signed(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (;;) {
    const low = rest & 0x7f
    rest >>= 7
    const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)
    bytes.push(done ? low : low | 0x80)
    if (done) return bytes
  }
}
