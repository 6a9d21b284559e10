// After each kind of trap the next thousand decisions are those of OPA's own evaluator.
import { beforeAll, expect, test } from '@jest/globals'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { codeOf } from '../support/code-of.ts'
import { builtinHost, toolchain } from '../support/toolchain.ts'

const rego = `package p

allow if {
	some role in data.roles[input.user]
	startswith(input.path, data.prefixes[role])
	not input.path in data.closed
}

answer := {
	"allow": object.get(allowed, "is", false),
	"roles": {upper(r) | some r in data.roles[input.user]},
	"sorted": [sprintf("%v:%d", [k, count(v)]) | some k, v in data.roles],
	"sum": sum([n | some n in input.numbers]) + 0.5,
	"matches": [x | some x in input.words; regex.match("^[a-c]+$", x)],
	"size": count(input.pad),
}

allowed := {"is": true} if allow

steps if {
	some i, j, k
	input.a[i] + input.a[j] == input.a[k] + 0.5
}

memory := concat(",", [json.marshal(x) | some i in numbers.range(1, 200000); x := {"i": i, "pad": input.pad}])

stack := input

host := io.jwt.encode_sign_raw(input.pad, input.pad, input.pad)

large := count([{"i": i, "k": [i]} | some i in numbers.range(1, 30000)])

reactor := graph.reachable_paths(input.graph, {"n0"})
`
const data = JSON.stringify({
  roles: { alice: ['admin', 'dev'], bob: ['dev'], é: [] },
  prefixes: { admin: '/', dev: '/src' },
  closed: ['/src/secret'],
})
const users = ['alice', 'bob', 'é', 'eve']
const paths = ['/', '/src', '/src/secret', '/etc', '']
const inputs = Array.from({ length: 50 }, (_, i) =>
  JSON.stringify({
    user: users[i % 4],
    path: paths[i % 5],
    numbers: [i, i / 8, 2 ** 40 + i, -i],
    words: ['abc', `a${i}`, 'cab', 'é'],
    pad: 'x'.repeat(i % 7 === 0 ? 100_000 : i),
  }),
)
const names = Array.from({ length: 60 }, (_, i) => `n${i}`)
const graph = Object.fromEntries(names.map((name) => [name, names]))
const many = Array.from({ length: 2_000 }, (_, i) => i)

const traps: readonly (readonly [kind: string, entrypoint: string, input: string, code: string])[] = [
  ['fuel', 'p/steps', JSON.stringify({ a: many }), 'ERR_STEPS_EXHAUSTED'],
  ['memory', 'p/memory', JSON.stringify({ pad: 'x'.repeat(300) }), 'ERR_MEMORY_EXHAUSTED'],
  ['stack', 'p/stack', `${'['.repeat(50_000)}${']'.repeat(50_000)}`, 'ERR_STACK_EXHAUSTED'],
  ['host error', 'p/host', '{"pad": "x"}', 'ERR_BUILTIN_FAILED'],
  ['reactor', 'p/reactor', JSON.stringify({ graph }), 'ERR_BUILTIN_FAILED'],
]

let wanted: (string | undefined)[]
let instance: PolicyInstance
beforeAll(async () => {
  const files = { 'p.rego': rego }
  const { wasm } = await toolchain.build({ files }, ['p/answer', 'p/large', ...traps.map(([, entrypoint]) => entrypoint)], {
    skipReads: true,
  })
  const limits = { maxSteps: 10_000_000, maxMemoryBytes: 32 * 2 ** 20 }
  instance = new PolicyInstance(await compilePolicyModule(wasm), data, await builtinHost(), limits)
  const answers = await toolchain.evalAll({ files, data, entrypoint: 'p/answer' }, inputs)
  wanted = answers.map((answer) => ('result' in answer ? answer.result : 'error'))
}, 60_000)

const ask = (entrypoint: string, input: string, strict = false) =>
  instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, 1, strict).result

test.each(traps)(
  '%s',
  (kind, entrypoint, input, code) => {
    for (let round = 0; round < 5; round++) expect(codeOf(() => ask(entrypoint, input, kind === 'host error'))).toBe(code)
    // What needs more memory than was there before the trap finds it.
    expect(ask('p/large', '{}')).toBe('30000')
    for (let i = 0; i < 1_000; i++) {
      const at = i % inputs.length
      if (ask('p/answer', inputs[at] as string) !== wanted[at]) expect([i, ask('p/answer', inputs[at] as string)]).toEqual([i, wanted[at]])
    }
  },
  60_000,
)
