// Modules that call built-in functions with generated arguments: mostly of the declared types, at times of others.
import type { BuiltinDeclaration, RegoType } from '../../src/rego/toolchain.ts'
import type { Question } from './engines.ts'
import { poolOf } from './pools.ts'
import type { Tape } from './tape.ts'
import { array, number, object, set, smallNumber, string, value } from './values.ts'

/** Functions that are not called as functions, or whose answer is chance or the world's. */
export const notCalled: ReadonlySet<string> = new Set([
  'http.send',
  'net.lookup_ip_addr',
  'internal.print',
  'internal.test_case',
  'internal.template_string',
  'rego.metadata.chain',
  'rego.metadata.rule',
  'uuid.rfc4122',
  'rand.intn',
  'io.jwt.encode_sign',
  'io.jwt.encode_sign_raw',
  'opa.runtime',
  'time.now_ns',
])

/** Functions whose results grow with their numbers. */
const growing: ReadonlySet<string> = new Set(['numbers.range', 'numbers.range_step', 'bits.lsh', 'bits.rsh', 'strings.split_n'])

export function callable(declarations: readonly BuiltinDeclaration[]): BuiltinDeclaration[] {
  return declarations.filter(({ name }) => !notCalled.has(name))
}

/** A module with a rule for each call; the entrypoint is the package. */
export function builtinCalls(tape: Tape, declarations: readonly BuiltinDeclaration[], calls: number): Question {
  const rules = Array.from({ length: calls }, (_, i) => ruleOf(tape, tape.pick(declarations), i))
  return asQuestion(rules)
}

/** Calls of one function. */
export function callsOf(tape: Tape, declaration: BuiltinDeclaration, calls: number): Question {
  return asQuestion(Array.from({ length: calls }, (_, i) => ruleOf(tape, declaration, i)))
}

function asQuestion(rules: readonly { text: string; deprecated: boolean }[]): Question {
  const deprecated = rules.some((rule) => rule.deprecated)
  return {
    files: { 'p.rego': `${packageHead(deprecated)}\n${rules.map((rule) => rule.text).join('\n')}\n` },
    ...(deprecated ? { regoVersion: 0 } : {}),
    data: '{}',
    inputs: ['{}'],
    entrypoint: 'p',
  }
}

function ruleOf(tape: Tape, declaration: BuiltinDeclaration, index: number): { text: string; deprecated: boolean } {
  const types = declaration.decl.args ?? []
  const args = types.map((type) => {
    const pool = poolOf(declaration.name)
    if (growing.has(declaration.name) && type.type === 'number') return smallNumber(tape)
    // object.get gives `any`, so that an argument of a wrong type gets past the type checker.
    return `object.get({"v": ${tape.chance(12) ? value(tape, 2, { strings: pool }) : argument(tape, type, 2, pool)}}, "v", null)`
  })
  const call = callTo(declaration, args)
  const text = declaration.relation ? `r${index} := [x | ${call}]` : `r${index} := x if { ${call} }`
  return { text, deprecated: declaration.deprecated ?? false }
}

/** Head of a module `p`; only Rego v0 still has the deprecated functions. */
export function packageHead(deprecated: boolean): string {
  return deprecated ? 'package p\nimport future.keywords\n' : 'package p\n'
}

/** An expression that calls a function, as an operator where it has one, and binds the answer to `x`. */
export function callTo({ name, relation }: BuiltinDeclaration, args: readonly string[]): string {
  return relation ? `${name}(${args.join(', ')}, x)` : `x := ${infix(name, args) ?? `${name}(${args.join(', ')})`}`
}

const operators: Readonly<Record<string, string>> = {
  plus: '+',
  minus: '-',
  mul: '*',
  div: '/',
  rem: '%',
  and: '&',
  or: '|',
  equal: '==',
  neq: '!=',
  lt: '<',
  lte: '<=',
  gt: '>',
  gte: '>=',
  'internal.member_2': 'in',
}

function infix(name: string, args: readonly string[]): string | undefined {
  const operator = operators[name]
  if (operator !== undefined) return `${args[0]} ${operator} ${args[1]}`
  return name === 'internal.member_3' ? `(${args[0]}, ${args[1]} in ${args[2]})` : undefined
}

export function argument(tape: Tape, type: RegoType, depth: number, pool: readonly string[]): string {
  const member = (of: RegoType | undefined) => () =>
    of === undefined || depth <= 0 ? value(tape, depth - 1, { strings: pool }) : argument(tape, of, depth - 1, pool)
  switch (type.type) {
    case 'number':
      return number(tape)
    case 'string':
      return string(tape, pool)
    case 'boolean':
      return tape.pick(['true', 'false'])
    case 'null':
      return 'null'
    case 'array': {
      if (type.static !== undefined) return `[${type.static.map((of) => member(of)()).join(', ')}]`
      return array(tape, member(type.dynamic))
    }
    case 'set':
      return set(tape, member(type.of as RegoType | undefined))
    case 'object': {
      const fixed = (type.static ?? []).map(({ key, value: of }) => `${JSON.stringify(key)}: ${member(of)()}`)
      return fixed.length > 0 ? `{${fixed.join(', ')}}` : object(tape, member(type.dynamic?.value), { strings: pool })
    }
    default: {
      const alternatives = Array.isArray(type.of) ? (type.of as RegoType[]) : []
      return alternatives.length > 0 ? argument(tape, tape.pick(alternatives), depth, pool) : value(tape, depth, { strings: pool })
    }
  }
}
