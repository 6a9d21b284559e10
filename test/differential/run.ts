// npm run differential: random policies and calls of built-in functions, answered by Verdict's engine and by OPA's own
// evaluator; the answers must be the same text. A difference is shrunk and written to test/cases/, where it stays as a test.
//   --cases N     answers to compare, default 20,000: half of policies, a tenth of rules that differ in constants, the rest of
//                 functions
//   --minutes M   until M minutes are over, however many answers that are
//   --seed S      default: the time; printed, so that a run can be repeated
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { membersOf } from '../../src/decision/json-text.ts'
import { builtinCalls, callable } from './builtins.ts'
import { type Difference, Engines, type Question } from './engines.ts'
import { randomPolicy } from './policies.ts'
import { similarRules } from './similar-rules.ts'
import { Tape } from './tape.ts'

const { values: args } = parseArgs({
  options: { cases: { type: 'string' }, minutes: { type: 'string' }, seed: { type: 'string' } },
})
const seed = Number(args.seed ?? Date.now() % 2 ** 31)
const cases = Number(args.cases ?? 20_000)
const until = args.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + Number(args.minutes) * 60_000
const callsInModule = 40
const modulesInRound = 50
/** A round takes some 15 seconds; the rest is for shrinking what it found. */
const maxRoundMs = 75_000

const engines = [new Engines(), new Engines()] as const
const { declarations } = await engines[0].toolchain.about()
const functions = callable(declarations)
const kinds = {
  policies: { make: (tape: Tape) => randomPolicy(tape), length: 400, weight: 1, goal: Math.ceil(cases * 0.5), compared: 0 },
  'similar rules': { make: (tape: Tape) => similarRules(tape), length: 600, weight: 1, goal: Math.ceil(cases * 0.1), compared: 0 },
  functions: {
    make: (tape: Tape) => builtinCalls(tape, functions, callsInModule),
    length: 1_500,
    weight: callsInModule,
    goal: Math.ceil(cases * 0.4),
    compared: 0,
  },
}
console.log(`seed ${seed}`)
const began = Date.now()
let round = 0
const done = () => (args.minutes === undefined ? Object.values(kinds).every((k) => k.compared >= k.goal) : Date.now() >= until)
let failed = false
await Promise.all(
  engines.map(async (engine) => {
    while (!failed && !done()) {
      const [name, kind] = Object.entries(kinds).reduce((a, b) => (a[1].compared / a[1].goal <= b[1].compared / b[1].goal ? a : b))
      const tape = fc.array(fc.nat(999), { minLength: 0, maxLength: kind.length, size: 'max' })
      let last: Question | undefined
      const property = fc.asyncProperty(tape, async (numbers) => {
        const question = kind.make(new Tape(numbers))
        const before = engine.compared
        const difference = await engine.differ(question, kind.weight)
        kind.compared += engine.compared - before
        if (difference === undefined) return
        last = { ...question, inputs: [difference.input] }
        if (!failed) console.log('the answers differ; shrinking…')
        failed = true
        throw new Error(describe(difference))
      })
      const outcome = await fc.check(property, { seed: seed + round++, numRuns: modulesInRound, interruptAfterTimeLimit: maxRoundMs })
      if (process.stderr.isTTY) process.stderr.write(`\r${Object.values(kinds).reduce((sum, kind) => sum + kind.compared, 0)} answers`)
      if (!outcome.failed) continue
      if (last !== undefined) keep(name, last)
      console.log((outcome.errorInstance as Error).message)
    }
  }),
)
const compared = engines[0].compared + engines[1].compared
const discarded = engines[0].discarded + engines[1].discarded
const seconds = ((Date.now() - began) / 1000).toFixed(0)
console.log(
  `${compared} answers compared (${Object.entries(kinds)
    .map(([name, kind]) => `${kind.compared} of ${name}`)
    .join(', ')}), ` + `${discarded} questions discarded, in ${seconds} s: ${failed ? 'they differ' : 'all alike'}`,
)
await Promise.all(engines.map((engine) => engine.close()))
process.exitCode = failed ? 1 : 0

/** Only those rules whose answers differ, where both engines gave answers. */
function describe({ input, verdict, opa }: Difference): string {
  if (!verdict.startsWith('{') || !opa.startsWith('{')) return `input ${input}\nVerdict: ${verdict}\nOPA:     ${opa}`
  const [ours, theirs] = [membersOf(verdict), membersOf(opa)]
  const names = [...new Set([...ours.keys(), ...theirs.keys()])].filter((name) => ours.get(name) !== theirs.get(name))
  return [`input ${input}`, ...names.map((name) => `${name}: Verdict ${ours.get(name)}\n${name}: OPA     ${theirs.get(name)}`)].join('\n')
}

function keep(kind: string, question: Question): void {
  const text = `${JSON.stringify(question, null, 2)}\n`
  const file = join(import.meta.dirname, '../cases', `${kind}-${createHash('sha256').update(text).digest('hex').slice(0, 8)}.json`)
  writeFileSync(file, text)
  console.log(`shrunk to ${file}:\n${Object.values(question.files).join('\n')}`)
}
