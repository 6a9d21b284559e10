// What a call to the host costs in steps of the evaluation's budget, and which calls are refused outright.
//
// Both follow from the function and its arguments alone, so that every replica gives the same verdict. A step is
// about 10 ns, so that a budget of steps bounds the time of host functions as it bounds that of the policy.

/** For reading an argument or writing a result. */
export const stepsPerByte = 12
/** For finding the next key of an object or set in order, and for the hash of a number that is no plain integer. */
export const stepsPerLookup = 30

const stepsPerCall = 2_500
/** For each array, object and set, and for each of their members. */
const stepsPerBracket = 500
const stepsPerComma = 80

/**
 * Functions that do more than read their arguments, by the beginning of their names; the first that fits counts.
 * Steps for a call, and for each byte of arguments beyond those of every function. Measured with `npm run bounds`.
 */
const heavier: readonly (readonly [prefix: string, perCall: number, perByte: number])[] = [
  ['graphql.', 200_000, 60],
  ['io.jwt.encode_sign', 500_000, 60],
  ['io.jwt.verify_hs', 3_000, 10],
  ['io.jwt.verify_', 200_000, 60],
  ['io.jwt.decode_verify', 200_000, 60],
  ['crypto.x509.', 30_000, 60],
  ['crypto.parse_private_keys', 30_000, 60],
  ['providers.aws.', 20_000, 20],
  ['rego.parse_module', 50_000, 200],
  ['strings.render_template', 20_000, 60],
  ['json.match_schema', 10_000, 60],
  ['json.verify_schema', 10_000, 60],
  ['json.remove', 0, 60],
  ['json.filter', 0, 60],
  ['json.patch', 0, 60],
  ['net.cidr_merge', 0, 60],
  ['yaml.', 8_000, 400],
  ['regex.', 3_000, 200],
  ['re_match', 3_000, 200],
  ['glob.', 1_000, 30],
  ['graph.', 2_000, 60],
  ['sort', 0, 30],
  ['time.', 4_500, 30],
  ['numbers.', 4_000, 30],
  ['json.marshal', 0, 30],
  ['format_int', 1_500, 30],
  ['bits.', 1_500, 60],
  ['floor', 2_000, 30],
  ['urlquery.', 0, 30],
  ['object.union', 0, 20],
]

/** Pairs of arguments whose lengths multiply: a pattern, and the text that it is tried on. */
const products: Readonly<Record<string, readonly [number, number]>> = {
  'regex.match': [0, 1],
  re_match: [0, 1],
  'regex.find_n': [0, 1],
  'regex.find_all_string_submatch_n': [0, 1],
  'regex.split': [0, 1],
  'regex.replace': [0, 1],
  'regex.globs_match': [0, 1],
  'regex.template_match': [0, 1],
  'glob.match': [0, 2],
  indexof_n: [0, 1],
  'strings.count': [0, 1],
}
/** Bytes of pattern times bytes of text that take one step. */
const productBytesPerStep = 4

/** Arithmetic that comes to the host is that of fractions and long numbers: OPA calculates with digits of any number. */
const arithmetic: ReadonlySet<string> = new Set(['plus', 'minus', 'mul', 'div', 'rem', 'abs', 'ceil', 'floor', 'round', 'sum', 'product'])
const stepsPerArithmetic = 6_000

const stepsPerPattern = 5_500
const stepsPerPatternByte = 224
const stepsPerMatch = 30

/** Steps for each address or number that a function makes. */
const stepsPerMade = 100

/** The widest shift: the result has as many bits. OPA has no bound. */
const maxShift = 65_536

const comma = 0x2c
const openingBracket = 0x5b
const openingBrace = 0x7b

/** Steps for a call, before it is made. May be more than any budget. */
export function chargeOf(name: string, args: readonly Uint8Array[]): number {
  const [, perCall, perByte] = heavier.find(([prefix]) => name.startsWith(prefix)) ?? ['', 0, 0]
  let steps = stepsPerCall + perCall + made(name, args) * stepsPerMade
  for (const arg of args) {
    steps += arg.length * (stepsPerByte + perByte)
    for (let i = 0; i < arg.length; i++) {
      const byte = arg[i]
      if (byte === comma) steps += stepsPerComma
      else if (byte === openingBracket || byte === openingBrace) steps += stepsPerBracket
    }
  }
  if (arithmetic.has(name)) steps += stepsPerArithmetic
  const [a, b] = products[name] ?? []
  if (a !== undefined && b !== undefined) steps += Math.floor(((args[a]?.length ?? 0) * (args[b]?.length ?? 0)) / productBytesPerStep)
  return steps
}

/** How many values a function makes of a few bytes. */
function made(name: string, args: readonly Uint8Array[]): number {
  switch (name) {
    case 'numbers.range':
    case 'numbers.range_step': {
      const [from, to, step] = args.map(numberOf)
      const count = Math.abs((to ?? 0) - (from ?? 0)) / Math.max(Math.abs(step ?? 1), 1)
      return Number.isFinite(count) ? count : 0
    }
    case 'net.cidr_expand': {
      const [, address, prefix] = /^"([0-9a-fA-F.:]+)\/(\d{1,3})"$/.exec(Buffer.from(args[0] as Uint8Array).toString('latin1')) ?? []
      return address === undefined ? 0 : 2 ** Math.max((address.includes(':') ? 128 : 32) - Number(prefix), 0)
    }
    default:
      return 0
  }
}

/** Steps for the first look at a pattern that is no constant of the policy, in bytes. */
export function chargeOfPattern(length: number): number {
  return stepsPerPattern + length * stepsPerPatternByte
}

/**
 * Steps for a text's way through a pattern.
 * @param size instructions of the pattern, each of which one character may have to look at
 * @param length bytes of text
 */
export function chargeOfMatch(size: number, length: number): number {
  return stepsPerMatch + length * (1 + (size >> 2))
}

/** @returns why a call is not made; undefined: it may be */
export function refusalOf(name: string, args: readonly Uint8Array[]): string | undefined {
  if (name === 'bits.lsh' && numberOf(args[1] as Uint8Array) > maxShift) return `a shift by more than ${maxShift} bits is not made`
  return undefined
}

/** NaN where the argument is no number. */
function numberOf(arg: Uint8Array): number {
  return arg.length > 400 ? Number.NaN : Number(Buffer.from(arg).toString('latin1'))
}
