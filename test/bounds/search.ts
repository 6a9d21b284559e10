// npm run bounds: asks every built-in function with large and malicious arguments, and shows how much CPU an evaluation
// could take before it is done or a bound ends it: what a few calls took, carried on to the whole budget of steps; the
// slowest are then asked in a loop that uses the budget up. Fails when one takes longer than --max-ms (default 150) or
// when an evaluation afterwards is wrong.
//   --only NAMES   functions, separated by commas
//   --all          prints every function, not only the slowest ten
import { parseArgs } from 'node:util'
import { PdpError } from '../../src/errors.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost } from '../../src/rego/reactor-host.ts'
import { type BuiltinDeclaration, Toolchain } from '../../src/rego/toolchain.ts'
import { callable, callTo, packageHead } from '../differential/builtins.ts'
import { largeArguments } from './arguments.ts'

const { values: args } = parseArgs({ options: { only: { type: 'string' }, all: { type: 'boolean' }, 'max-ms': { type: 'string' } } })
const maxMs = Number(args['max-ms'] ?? 150)
const only = args.only?.split(',')
const limits = { maxSteps: 10_000_000, maxMemoryBytes: 64 * 2 ** 20 }

interface Worst {
  readonly name: string
  readonly ms: number
  readonly how: string
  readonly ended: string
  readonly loop: () => { ms: number; ended: string }
}

const toolchain = new Toolchain()
const host = await createReactorHost(toolchain, '{}')
const { declarations } = await toolchain.about()
const worst: Worst[] = []
const wrong: string[] = []
for (const declaration of callable(declarations)) {
  if (only !== undefined && !only.includes(declaration.name)) continue
  worst.push(await slowestOf(declaration))
  if (args.all) print(worst.at(-1) as Worst)
}

async function slowestOf(declaration: BuiltinDeclaration): Promise<Worst> {
  const { name } = declaration
  const parameters = (declaration.decl.args ?? []).map((_, i) => `object.get(input, "a${i}", null)`)
  const call = callTo(declaration, parameters)
  const rego = `${packageHead(declaration.deprecated ?? false)}
few := count([1 | some i in [1, 2, 3, 4, 5]; ${call}; i >= 0])
loop := count([1 | some i in numbers.range(1, 20000); ${call}; i >= 0])
after := sum([1 | some i in input.after])
`
  const sources = { files: { 'p.rego': rego }, ...(declaration.deprecated ? { regoVersion: 0 as const } : {}) }
  const { wasm } = await toolchain.build(sources, ['p/few', 'p/loop', 'p/after'], { skipReads: true })
  const instance = new PolicyInstance(await compilePolicyModule(wasm), '{}', host, limits)
  const ask = (entrypoint: string, input: string) => instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, Date.now())
  const timed = (entrypoint: string, input: string) => {
    const began = process.cpuUsage()
    let ended = 'done'
    let steps = limits.maxSteps
    try {
      steps = ask(entrypoint, input).steps
    } catch (thrown) {
      if (!(thrown instanceof PdpError)) throw thrown
      ended = `${thrown.code}: ${thrown.message.slice(0, 80)} ${thrown.cause instanceof Error ? thrown.cause.message : ''}`
    }
    const { user, system } = process.cpuUsage(began)
    return { ms: (user + system) / 1_000, ended, steps }
  }
  for (let i = 0; i < 20; i++) timed('p/few', '{"a0": "a", "a1": "a"}')
  let slowest: Worst = { name, ms: 0, how: '', ended: '', loop: () => ({ ms: 0, ended: '' }) }
  for (const { how, input } of largeArguments(declaration)) {
    // The first call of a function is slow: its code is compiled, its tables are made.
    const runs = [timed('p/few', input)]
    const wholeOf = () => Math.min(...runs.map(({ ms, steps }) => ms * Math.max(1, Math.min(limits.maxSteps / steps, 20_000 / 5))))
    while (wholeOf() > maxMs * 0.7 && runs.length < 4) runs.push(timed('p/few', input))
    const whole = wholeOf()
    const { ended } = runs[0] as { ended: string }
    if (whole > slowest.ms) slowest = { name, ms: whole, how, ended, loop: () => timed('p/loop', input) }
    if (ask('p/after', '{"after": [1, 2, 3]}').result !== '3') wrong.push(`${name} ${how}`)
  }
  return slowest
}
for (const [i, one] of worst.entries()) {
  if (one.ms < maxMs * 0.7) continue
  const again = [one.loop(), one.loop(), one.loop()].sort((a, b) => a.ms - b.ms)[0] as { ms: number; ended: string }
  worst[i] = { ...one, ...again, how: `in a loop, ${one.how}` }
}
worst.sort((a, b) => b.ms - a.ms)
if (!args.all) for (const [i, one] of worst.entries()) if (i < 10 || one.ms > maxMs) print(one)
const tooSlow = worst.filter(({ ms }) => ms > maxMs)
for (const one of wrong) console.log(`wrong afterwards: ${one}`)
console.log(`${worst.length} functions, ${tooSlow.length} beyond ${maxMs} ms of CPU`)
await toolchain.close()
process.exitCode = tooSlow.length > 0 || wrong.length > 0 ? 1 : 0

function print({ name, ms, how, ended }: Worst): void {
  console.log(`${ms.toFixed(0).padStart(6)} ms  ${name}  (${how}; ${ended})`)
}
