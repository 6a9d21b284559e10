// Rules that differ in constants: the same answers as without the look-up, at a cost that does not grow with them.
import { expect, test } from '@jest/globals'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { neverIndex } from '../../src/rego/toolchain.ts'
import { builtinHost, defaultLimits, toolchain } from '../support/toolchain.ts'

async function start(rego: string, entrypoint: string, indexFrom?: number): Promise<PolicyInstance> {
  const { wasm } = await toolchain.build({ files: { 'p.rego': rego } }, [entrypoint], { skipReads: true, indexFrom })
  return new PolicyInstance(await compilePolicyModule(wasm), '{}', await builtinHost(), defaultLimits)
}

function ask(policy: PolicyInstance, input: string, strict = false): string | undefined {
  return policy.evaluate([...policy.entrypoints.values()][0] as number, input, 0, strict).result
}

const paths = Array.from({ length: 600 }, (_, i) => (i % 3 === 0 ? `/api/${i}` : i % 3 === 1 ? `é${i}/\u{1F600}` : `${i}"\\\n`))
const similar = (count: number) =>
  `package p\ndefault allow := "none"\n${paths
    .slice(0, count)
    .map((path, i) => `allow := ${i} if { input.path == ${JSON.stringify(path)}; input.method == "GET" }`)
    .join('\n')}\nallow := "other" if input.other`

test('six hundred rules answer as they do one by one, known and unknown strings and what is no string', async () => {
  const [indexed, plain] = [await start(similar(600), 'p/allow'), await start(similar(600), 'p/allow', neverIndex)]
  for (const [i, path] of paths.entries()) expect(ask(indexed, JSON.stringify({ path, method: 'GET' }))).toBe(String(i))
  const others = ['""', '"/api"', '"/api/1"', '"/api/3 "', '"rule"', '"i0"', '7', 'null', '["/api/3"]', '{"/api/3": 1}', 'true']
  for (const path of others) {
    for (const rest of ['"method": "GET"', '"method": "PUT"', '"other": true']) {
      const input = `{"path": ${path}, ${rest}}`
      expect(ask(indexed, input)).toBe(ask(plain, input))
      expect(ask(indexed, input, true)).toBe(ask(plain, input, true))
    }
  }
  for (const input of ['{}', 'null', '"/api/3"', '{"other": true}']) expect(ask(indexed, input)).toBe(ask(plain, input))
})

test('the steps of a decision do not grow with the number of rules', async () => {
  const input = JSON.stringify({ path: paths[19], method: 'GET' })
  const steps = []
  for (const count of [20, 600]) {
    const policy = await start(similar(count), 'p/allow')
    expect(ask(policy, input)).toBe('19')
    steps.push(policy.lastSteps)
  }
  expect(steps[1]).toBeLessThan((steps[0] as number) * 1.3)
})

test('two rules of one string that give different values are a conflict still', async () => {
  const policy = await start(`${similar(30)}\nallow := "twice" if input.path == "/api/3"`, 'p/allow')
  expect(() => ask(policy, '{"path": "/api/3", "method": "GET"}')).toThrow(expect.objectContaining({ code: 'ERR_EVALUATION_FAILED' }))
  expect(ask(policy, '{"path": "/api/3", "method": "PUT"}')).toBe('"twice"')
})

test('sets gather the members of every rule that holds', async () => {
  const rules = paths.slice(0, 40).map((path, i) => `deny contains ${i} if input.path == ${JSON.stringify(path)}`)
  const more = paths.slice(0, 40).map((_, i) => `deny contains x if { input.method == "m${i % 20}"; x := input.path }`)
  const policy = await start(`package p\n${rules.join('\n')}\n${more.join('\n')}\ndeny contains false if input.path`, 'p/deny')
  expect(ask(policy, '{"path": "/api/3", "method": "m7"}')).toBe('[false,3,"/api/3"]')
  expect(ask(policy, '{"path": false, "method": "m7"}')).toBe('[false]')
  expect(ask(policy, '{"path": "/api/6"}')).toBe('[false,6]')
})

test('what was added cannot be seen from the policy', async () => {
  const whole = await start(similar(40), 'p')
  expect(ask(whole, '{}')).toBe('{"allow":"none"}')
})

test('a function that `with` replaces by a value is replaced in rules of every number', async () => {
  const rules = paths.slice(0, 40).map((path, i) => `allow := ${i} if { input.path == ${JSON.stringify(path)}; count(input.of) == 1 }`)
  const policy = await start(`package p\n${rules.join('\n')}\nasked := v if v := allow with count as input.replaced`, 'p/asked')
  expect(ask(policy, '{"path": "/api/3", "of": [1, 2], "replaced": 1}')).toBe('3')
  expect(ask(policy, '{"path": "/api/3", "of": [1], "replaced": 2}')).toBeUndefined()
})
