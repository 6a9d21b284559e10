// Random policies: rules of every kind that use input, data, each other, comprehensions, `every`, `with`, negation,
// functions and built-ins. They compile nearly always: variables are used where they are bound, calls go backwards.
import type { Question } from './engines.ts'
import type { Tape } from './tape.ts'
import { quote, string, value } from './values.ts'

const keys = ['a', 'b', 'c', 'd', 'k']

interface Scope {
  /** Local variables that are bound. */
  readonly variables: readonly string[]
  /** Rules that may be used: those made before. */
  readonly rules: readonly string[]
  readonly functions: readonly { readonly name: string; readonly parameters: number }[]
}

/** Functions that take any value without an error that ends the evaluation, by their number of arguments. */
const unary = [
  'count',
  'sum',
  'max',
  'min',
  'sort',
  'type_name',
  'is_string',
  'is_number',
  'json.marshal',
  'lower',
  'upper',
  'abs',
  'array.reverse',
  'object.keys',
  'to_number',
  'trim_space',
  'base64.encode',
  'union',
]
const binary = [
  'startswith',
  'contains',
  'concat',
  'split',
  'array.concat',
  'object.remove',
  'object.filter',
  'object.union',
  'indexof',
  'trim',
  'format_int',
  'json.filter',
  'graph.reachable',
  'strings.any_prefix_match',
  'sprintf',
]

export function randomPolicy(tape: Tape): Question {
  const maker = new PolicyMaker(tape)
  return {
    files: maker.modules(),
    data: `{"d": ${jsonObject(tape)}, "list": [${tape.list(4, () => value(tape, 1, { json: true })).join(', ')}]}`,
    inputs: Array.from({ length: 10 }, () => (tape.chance(10) ? value(tape, 1, { json: true }) : jsonObject(tape))),
    entrypoint: 'p',
  }
}

/** Variables that nothing uses are refused. */
function used(...names: readonly string[]): string {
  return `fn.id([${names.join(', ')}]) != 0`
}

function jsonObject(tape: Tape): string {
  const members = keys.filter(() => tape.chance(75)).map((key) => `${quote(key)}: ${value(tape, 2, { json: true })}`)
  return `{${members.join(', ')}}`
}

class PolicyMaker {
  readonly #tape: Tape
  #fresh = 0

  constructor(tape: Tape) {
    this.#tape = tape
  }

  /** Rules in one package, functions in another: the entrypoint is the whole package of the rules. */
  modules(): Record<string, string> {
    const tape = this.#tape
    const rules: string[] = []
    const functions: { name: string; parameters: number }[] = []
    const text: string[] = ['package p', '', 'import data.fn', '']
    // The type checker knows nothing of what id() returns, so that it does not refuse what is worth asking.
    const functionText: string[] = ['package fn', '', 'import data.fn', '', 'id(x) := object.get({"v": x}, "v", null)', '']
    for (let left = 1 + tape.below(6); left > 0; left--) {
      const scope: Scope = { variables: [], rules: [...rules], functions: [...functions] }
      if (tape.chance(20)) {
        const f = { name: `f${functions.length}`, parameters: 1 + tape.below(2) }
        functionText.push(this.#function(f, { ...scope, rules: [] }))
        functions.push(f)
      } else {
        const name = `r${rules.length}`
        text.push(this.#rule(name, scope))
        rules.push(name)
      }
    }
    return { 'p.rego': `${text.join('\n')}\n`, 'fn.rego': `${functionText.join('\n')}\n` }
  }

  #function({ name, parameters }: { name: string; parameters: number }, scope: Scope): string {
    const names = ['x', 'y'].slice(0, parameters)
    const inner = { ...scope, variables: names }
    const heads = Array.from({ length: 1 + this.#tape.below(2) }, () => `${name}(${names.join(', ')}) := ${this.#bodyWithResult(inner)}`)
    return heads.join('\n')
  }

  #rule(name: string, scope: Scope): string {
    const tape = this.#tape
    switch (tape.below(6)) {
      case 0:
        return `${name} := ${this.#bodyWithResult(scope)}`
      case 1:
        return `default ${name} := ${value(tape, 0)}\n${name} := ${this.#bodyWithResult(scope)}`
      case 2:
        return `${name} := ${this.#bodyWithResult(scope)} else := ${this.#bodyWithResult(scope)}`
      case 3:
        return Array.from({ length: 1 + tape.below(2) }, () => `${name} contains ${this.#bodyWithResult(scope)}`).join('\n')
      case 4: {
        const [body, bound] = this.#body(scope)
        return `${name}[${this.#any(bound)}] := ${this.#any(bound)} if {\n${body}}`
      }
      default: {
        const [body] = this.#body(scope)
        return `${name} if {\n${body}}`
      }
    }
  }

  /** `term if { … }` */
  #bodyWithResult(scope: Scope): string {
    const [body, bound] = this.#body(scope)
    return `fn.id(${this.#term(bound, 2)}) if {\n${body}}`
  }

  #body(scope: Scope): [text: string, bound: Scope] {
    let bound = scope
    const lines: string[] = []
    for (let left = 1 + this.#tape.below(3); left > 0; left--) {
      const [line, next] = this.#statement(bound)
      lines.push(`\t${line}\n`)
      bound = next
    }
    return [lines.join(''), bound]
  }

  #name(prefix: string): string {
    return `${prefix}${this.#fresh++}`
  }

  #statement(scope: Scope): [string, Scope] {
    const tape = this.#tape
    const bind = (...names: string[]): Scope => ({ ...scope, variables: [...scope.variables, ...names] })
    switch (tape.below(11)) {
      case 0:
        return [this.#condition(scope), scope]
      case 1: {
        const name = this.#name('v')
        return [`${name} := fn.id(${this.#term(scope, 2)})`, bind(name)]
      }
      case 2: {
        const name = this.#name('v')
        return [`some ${name} in ${this.#collection(scope)}; ${used(name)}`, bind(name)]
      }
      case 3: {
        const [key, name] = [this.#name('k'), this.#name('v')]
        return [`some ${key}, ${name} in ${this.#collection(scope)}; ${used(key, name)}`, bind(key, name)]
      }
      case 4:
        return [`not ${this.#condition(scope)}`, scope]
      case 5: {
        const [key, name] = [this.#name('k'), this.#name('v')]
        const inner = bind(key, name)
        return [`every ${key}, ${name} in ${this.#collection(scope)} { ${used(key, name)}; ${this.#condition(inner)} }`, scope]
      }
      case 6:
        return [`${this.#condition(scope)} with input.${tape.pick(keys)} as ${this.#term(scope, 1)}`, scope]
      case 7:
        return [`${this.#condition(scope)} with data.d.${tape.pick(keys)} as ${this.#term(scope, 1)}`, scope]
      case 8: {
        const name = this.#name('v')
        return [`${name} := ${this.#reference(scope)} with input as ${this.#term(scope, 1)}`, bind(name)]
      }
      case 9: {
        const [key, name] = [this.#name('k'), this.#name('v')]
        return [`some ${key}\n\t${name} := ${this.#root(scope)}[${key}]`, bind(key, name)]
      }
      default:
        return [`${this.#any(scope)} in ${this.#collection(scope)}`, scope]
    }
  }

  #condition(scope: Scope): string {
    const tape = this.#tape
    switch (tape.below(6)) {
      case 0:
        return this.#reference(scope)
      case 1:
        return `${this.#any(scope)} == ${this.#any(scope)}`
      case 2:
        return `${this.#any(scope)} ${tape.pick(['!=', '<', '<=', '>', '>='])} ${this.#any(scope)}`
      case 3:
        return `${tape.pick(binary)}(${this.#any(scope)}, ${this.#any(scope)})`
      case 4:
        return this.#call(scope)
      default:
        return `${this.#any(scope)} = ${this.#any(scope)}`
    }
  }

  /** What may be iterated over with a variable as key. */
  #root(scope: Scope): string {
    const tape = this.#tape
    return tape.chance(40) && scope.variables.length > 0
      ? tape.pick(scope.variables)
      : tape.pick(['input', 'data.d', 'data.list', 'input.a', 'input.b'])
  }

  #reference(scope: Scope): string {
    const tape = this.#tape
    const tail = () => tape.list(2, () => (tape.chance(25) ? `[${this.#term(scope, 0)}]` : `[${quote(tape.pick(keys))}]`)).join('')
    switch (tape.below(scope.rules.length > 0 ? 4 : 3)) {
      case 0:
        return `input.${tape.pick(keys)}${tail()}`
      case 1:
        return tape.chance(30) ? 'data.list' : `data.d.${tape.pick(keys)}${tail()}`
      case 2:
        return scope.variables.length > 0 ? `${tape.pick(scope.variables)}${tail()}` : `input.${tape.pick(keys)}`
      default: {
        const rest = tail()
        return rest === '' ? tape.pick(scope.rules) : `fn.id(${tape.pick(scope.rules)})${rest}`
      }
    }
  }

  /** A term whose type the checker does not know. */
  #any(scope: Scope): string {
    return `fn.id(${this.#term(scope, 1)})`
  }

  #collection(scope: Scope): string {
    return this.#tape.chance(30) ? `fn.id(${value(this.#tape, 2)})` : this.#reference(scope)
  }

  #call(scope: Scope): string {
    const f = scope.functions.length > 0 ? this.#tape.pick(scope.functions) : undefined
    if (f === undefined) return `${this.#tape.pick(unary)}(${this.#any(scope)})`
    return `fn.${f.name}(${Array.from({ length: f.parameters }, () => this.#term(scope, 1)).join(', ')})`
  }

  #term(scope: Scope, depth: number): string {
    const tape = this.#tape
    const member = () => this.#term(scope, depth - 1)
    switch (tape.below(depth > 0 ? 13 : 4)) {
      case 0:
        return this.#reference(scope)
      case 1:
        return scope.variables.length > 0 ? tape.pick(scope.variables) : string(tape)
      case 2:
        return value(tape, 0)
      case 3:
        return string(tape)
      case 4:
        return `[${tape.list(3, member).join(', ')}]`
      case 5:
        return `{${keys
          .slice(0, tape.below(3))
          .map((key) => `${quote(key)}: ${member()}`)
          .join(', ')}}`
      case 6:
        return `{${[member(), ...tape.list(2, member)].join(', ')}}`
      case 7:
        return this.#comprehension(scope, depth, '[', ']')
      case 8:
        return this.#comprehension(scope, depth, '{', '}')
      case 9: {
        const name = this.#name('v')
        const inner = { ...scope, variables: [...scope.variables, name] }
        return `{${name}: ${this.#term(inner, depth - 1)} | some ${name} in ${this.#collection(scope)}; ${this.#condition(inner)}}`
      }
      case 10:
        return this.#call(scope)
      case 11:
        return `${tape.pick(binary)}(${this.#any(scope)}, ${this.#any(scope)})`
      default:
        return `(${this.#any(scope)} ${tape.pick(['+', '-', '*', '/', '%', '&', '|'])} ${this.#any(scope)})`
    }
  }

  #comprehension(scope: Scope, depth: number, open: string, close: string): string {
    const name = this.#name('v')
    const inner = { ...scope, variables: [...scope.variables, name] }
    const condition = this.#tape.chance(50) ? `; ${this.#condition(inner)}` : ''
    return `${open}${this.#term(inner, depth - 1)} | some ${name} in ${this.#collection(scope)}${condition}${close}`
  }
}
