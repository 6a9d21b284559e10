// Random policies of many rules that compare the same parts of the input with constants: what the toolchain turns into
// look-ups (src/rego/toolchain/rule_index.go). Every look-up that is possible is made, however few rules it saves.
import type { Question } from './engines.ts'
import type { Tape } from './tape.ts'

const constants = ['"a"', '"b"', '""', '"a/b"', '"é"', '"rule"', '1', 'true', 'null', '["a"]']
const refs = ['input.x', 'input.y', 'input.y.z', 'input["x"]', 'data.d.x']

export function similarRules(tape: Tape): Question {
  const names: string[] = []
  const text: string[] = ['package p', '']
  for (let left = 1 + tape.below(3); left > 0; left--) {
    const name = `r${names.length}`
    const kind = tape.below(5)
    for (let rules = 2 + tape.below(8); rules > 0; rules--) text.push(rule(tape, name, kind, names))
    if (kind !== 2 && tape.chance(50)) text.push(`default ${name} := ${tape.pick(constants)}`)
    names.push(name)
  }
  text.push(`asked := v if v := [r0, ${names.at(-1)}] with input.x as ${tape.pick(constants)}`)
  if (tape.chance(15)) text.push(`mocked := v if v := r0 with data.d.x as ${tape.pick(constants)}`)
  return {
    files: { 'p.rego': `${text.join('\n')}\n` },
    data: `{"d": {"x": ${tape.pick(constants)}}}`,
    inputs: Array.from({ length: 10 }, () => (tape.chance(10) ? tape.pick(constants) : object(tape))),
    entrypoint: 'p',
    indexFrom: 1,
  }
}

function rule(tape: Tape, name: string, kind: number, earlier: readonly string[]): string {
  const conditions = [
    ...Array.from({ length: 1 + tape.below(3) }, () => comparison(tape)),
    ...(tape.chance(40) ? [condition(tape, earlier)] : []),
  ]
  const body = `if {\n\tv := ${tape.pick([...constants, ...refs])}\n${conditions.map((one) => `\t${one}\n`).join('')}\tv != 7\n}`
  switch (kind) {
    case 0:
      return `${name} ${body}`
    case 1:
      return `${name} := v ${body}`
    case 2:
      return `${name} contains ${tape.chance(50) ? 'v' : 'false'} ${body}`
    case 3:
      return `${name} := ${tape.pick(constants)} ${body}`
    default:
      return tape.chance(30) ? `${name} := v ${body} else := ${tape.pick(constants)} if input.y` : `${name} := v ${body}`
  }
}

function comparison(tape: Tape): string {
  const [ref, constant] = [tape.pick(refs), tape.pick(constants)]
  const operator = tape.pick(['==', '='])
  return tape.chance(30) ? `${constant} ${operator} ${ref}` : `${ref} ${operator} ${constant}`
}

function condition(tape: Tape, earlier: readonly string[]): string {
  switch (tape.below(earlier.length > 0 ? 5 : 4)) {
    case 0:
      return `not ${comparison(tape)}`
    case 1:
      return `some w in input.y; w == ${tape.pick(constants)}`
    case 2:
      return `input[key] == ${tape.pick(constants)}; key != "z"`
    case 3:
      return `${comparison(tape)} with input.x as ${tape.pick(constants)}`
    default:
      return tape.chance(50) ? `${tape.pick(earlier)} == ${tape.pick(constants)}` : `not ${tape.pick(earlier)}`
  }
}

function object(tape: Tape): string {
  const y = tape.chance(50) ? tape.pick(constants) : `{"z": ${tape.pick(constants)}}`
  return `{"x": ${tape.pick(constants)}, "y": ${y}}`
}
