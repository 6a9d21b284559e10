// npm run bounds: asks every built-in function with large and malicious arguments, once and in a loop, and shows how long
// an evaluation takes before it is done or a bound ends it. Fails when one takes longer than --max-ms of CPU (default
// 150), or when the evaluation after it is wrong.
//   --only NAMES   functions, separated by commas
//   --all          prints every function, not only the slowest ten
import { parseArgs } from 'node:util'
import { PdpError } from '../../src/errors.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { callable } from '../differential/builtins.ts'
import { largeArguments } from './arguments.ts'

const { values: args } = parseArgs({ options: { only: { type: 'string' }, all: { type: 'boolean' }, 'max-ms': { type: 'string' } } })
const maxMs = Number(args['max-ms'] ?? 150)
const only = args.only?.split(',')
const limits = { maxSteps: 10_000_000, maxMemoryBytes: 256 * 2 ** 20 }

interface Worst {
  readonly name: string
  readonly ms: number
  readonly how: string
  readonly ended: string
}

const toolchain = new Toolchain()
const host = await createReactorHost(toolchain, '{}')
const { declarations } = await toolchain.about()
const worst: Worst[] = []
const wrong: string[] = []
for (const declaration of callable(declarations)) {
  const { name } = declaration
  if (only !== undefined && !only.includes(name)) continue
  const parameters = (declaration.decl.args ?? []).map((_, i) => `object.get(input, "a${i}", null)`)
  const call = declaration.relation ? `${name}(${parameters.join(', ')}, x)` : `x := ${operator(name, parameters)}`
  const head = declaration.deprecated ? 'package p\nimport future.keywords\n' : 'package p\n'
  const rego = `${head}
once := true if ${call}
loop := count([1 | some i in numbers.range(1, 20000); ${call}; i >= 0])
after := sum([1 | some i in input.after])
`
  const sources = { files: { 'p.rego': rego }, ...(declaration.deprecated ? { regoVersion: 0 as const } : {}) }
  const { wasm } = await toolchain.build(sources, ['p/once', 'p/loop', 'p/after'], true)
  const instance = new PolicyInstance(await compilePolicyModule(wasm), '{}', host, limits)
  const ask = (entrypoint: string, input: string) => instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, Date.now()).result
  let slowest: Worst = { name, ms: 0, how: '', ended: '' }
  for (const { how, input } of largeArguments(declaration)) {
    for (const entrypoint of ['p/once', 'p/loop']) {
      const began = process.cpuUsage()
      let ended = 'done'
      try {
        ask(entrypoint, input)
      } catch (thrown) {
        if (!(thrown instanceof PdpError)) throw thrown
        ended = `${thrown.code}: ${thrown.message.slice(0, 80)}`
      }
      const { user, system } = process.cpuUsage(began)
      const ms = (user + system) / 1_000
      if (ms > slowest.ms) slowest = { name, ms, how: `${entrypoint.slice(2)} ${how}`, ended }
      if (ask('p/after', '{"after": [1, 2, 3]}') !== '3') wrong.push(`${name} ${how}`)
    }
  }
  worst.push(slowest)
  if (args.all) print(slowest)
}
worst.sort((a, b) => b.ms - a.ms)
if (!args.all) for (const one of worst.slice(0, 10)) print(one)
const tooSlow = worst.filter(({ ms }) => ms > maxMs)
for (const one of wrong) console.log(`wrong afterwards: ${one}`)
console.log(`${worst.length} functions, ${tooSlow.length} beyond ${maxMs} ms of CPU`)
await toolchain.close()
process.exitCode = tooSlow.length > 0 || wrong.length > 0 ? 1 : 0

function print({ name, ms, how, ended }: Worst): void {
  console.log(`${ms.toFixed(0).padStart(6)} ms  ${name}  (${how}; ${ended})`)
}

function operator(name: string, a: readonly string[]): string {
  const infix: Readonly<Record<string, string>> = { plus: '+', minus: '-', mul: '*', div: '/', rem: '%', and: '&', or: '|' }
  const compare: Readonly<Record<string, string>> = { equal: '==', neq: '!=', lt: '<', lte: '<=', gt: '>', gte: '>=', 'internal.member_2': 'in' }
  const symbol = infix[name] ?? compare[name]
  if (symbol !== undefined) return `${a[0]} ${symbol} ${a[1]}`
  return name === 'internal.member_3' ? `(${a[0]}, ${a[1]} in ${a[2]})` : `${name}(${a.join(', ')})`
}
