import { describe, expect, test } from '@jest/globals'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { startPolicy, toolchain } from '../support/toolchain.ts'

describe('build', () => {
  test('finds the annotated entrypoints, and what they read', async () => {
    const { entrypoints } = await toolchain.build({
      files: {
        'a.rego': `package a

import data.b

# METADATA
# entrypoint: true
allow if {
	some role in data.roles[input.subject.id]
	b.ok(input.context.ip, role)
	time.now_ns() > input.not_before
}
`,
        'b.rego': 'package b\n\nok(ip, role) if net.cidr_contains(data.net[role], ip)\n\nunused if input.never\n',
      },
    })
    expect(entrypoints).toHaveLength(1)
    expect(entrypoints[0]).toMatchObject({
      path: 'a/allow',
      reads: {
        input: [['context', 'ip'], ['not_before'], ['subject', 'id']],
        data: [['net'], ['roles']],
        nondeterministic: ['time.now_ns'],
      },
    })
    expect(entrypoints[0]?.reads?.builtins).toEqual(expect.arrayContaining(['net.cidr_contains', 'time.now_ns']))
  })

  test.each([
    ['the whole of input', 'x := input', [[]]],
    ['a dynamic key', 'x := input.a[input.k]', [['a'], ['k']]],
    ['a variable key', 'x if input[_] == 1', [[]]],
    ['an else', 'x := 1 if { input.a } else := 2 if { input.b }', [['a'], ['b']]],
    ['a comprehension', 'x := [y | some y in input.list; y.z]', [['list']]],
    ['an argument', 'x := f(input.a.b)\n\nf(v) := v.c', [['a', 'b']]],
    ['a default value alone', 'x := 1', []],
    ['negation and every', 'x if { not input.n; every e in input.es { e > 1 } }', [['es'], ['n']]],
    ['crypto.x509 against the clock', 'x := crypto.x509.parse_and_verify_certificates(input.pem)', [['pem']]],
  ])('reads of %s', async (_what, rule, input) => {
    const { entrypoints } = await toolchain.build({ files: { 'p.rego': `package p\n\n${rule}\n` } }, ['p/x'])
    expect(entrypoints[0]?.reads?.input).toEqual(input)
    if (rule.includes('x509')) expect(entrypoints[0]?.reads?.nondeterministic).toEqual(['crypto.x509.parse_and_verify_certificates'])
  })

  test('reports every fault of all files, with file, row and column', async () => {
    const files = { 'b.rego': 'package b\n\nallow if {', 'a.rego': 'package a\n\nallow if x y\n', 'c.rego': 'package c\n' }
    await expect(toolchain.build({ files })).rejects.toMatchObject({
      code: 'ERR_REGO',
      findings: [
        { code: 'rego_parse_error', location: { file: 'a.rego', row: 3, col: 12 } },
        { code: 'rego_parse_error', location: { file: 'b.rego', row: 3 } },
      ],
    })
  })

  test('gives the same bytes each time', async () => {
    const files = { 'p.rego': 'package p\n\nx := input.a\n' }
    const [one, two] = await Promise.all([toolchain.build({ files }, ['p/x']), toolchain.build({ files }, ['p/x'])])
    expect(Buffer.compare(one.wasm, two.wasm)).toBe(0)
  })
})

describe('test', () => {
  const files = {
    'p.rego': 'package p\n\nallow if input.a == 1\n\nother if input.b == 2\n',
    'p_test.rego':
      'package p_test\n\nimport data.p\n\ntest_good if p.allow with input as {"a": 1}\n\ntest_bad if {\n\tprint("looking at", 2)\n\tp.allow with input as {"a": 2}\n}\n\ntodo_test_later if false\n',
  }

  test('says what passed, what failed and why', async () => {
    const { results } = await toolchain.test({ files })
    expect(results.map(({ name, outcome }) => [name, outcome])).toEqual([
      ['test_good', 'pass'],
      ['test_bad', 'fail'],
      ['todo_test_later', 'skip'],
    ])
    expect(results[1]?.output).toContain('looking at 2')
    expect(results[1]?.trace).toContain('p_test.rego:9     | | Fail data.p.allow')
    expect(results[1]?.location).toEqual({ file: 'p_test.rego', row: 7, col: 1 })
  })

  test('measures coverage of the policies', async () => {
    const { coverage } = await toolchain.test({ files }, undefined, 'test_good')
    expect(coverage.files['p.rego']?.not_covered?.map(({ start }) => start.row)).toContain(5)
    expect(coverage.coverage).toBeGreaterThan(0)
    expect(coverage.coverage).toBeLessThan(100)
    expect(coverage.files['p_test.rego']).toBeUndefined()
  })

  test('reads data with its digits', async () => {
    const rego = 'package q_test\n\ntest_digits if sprintf("%v", [data.n]) == "12345678901234567890"\n'
    const { results } = await toolchain.test({ files: { 'q_test.rego': rego } }, '{"n":12345678901234567890}')
    expect(results[0]?.outcome).toBe('pass')
  })
})

describe('check', () => {
  const schema =
    '{"type":"object","additionalProperties":false,"properties":{"user":{"type":"object","properties":{"id":{"type":"string"}},"additionalProperties":false}}}'

  test('finds references that the schema of input does not have', async () => {
    const files = { 'p.rego': 'package p\n\nallow if input.user.nmae == "x"\n' }
    await expect(toolchain.check({ files })).resolves.toBeUndefined()
    await expect(toolchain.check({ files }, schema)).rejects.toMatchObject({
      findings: [{ code: 'rego_type_error', location: { file: 'p.rego', row: 3, col: 10 } }],
    })
  })

  test('finds unused variables when strict', async () => {
    const files = { 'p.rego': 'package p\n\nallow if {\n\tx := 1\n\tinput.a\n}\n' }
    await expect(toolchain.check({ files })).resolves.toBeUndefined()
    await expect(toolchain.check({ files }, undefined, true)).rejects.toMatchObject({ findings: [{ location: { row: 4, col: 2 } }] })
  })
})

test('format returns what changes, and its own output does not', async () => {
  const changed = await toolchain.format({ files: { 'a.rego': 'package a\nx   if {  y:=1 \n y==1}', 'b.rego': 'package b\n\nx := 1\n' } })
  expect(Object.keys(changed)).toEqual(['a.rego'])
  expect(await toolchain.format({ files: changed })).toEqual({})
})

describe('eval', () => {
  const files = { 'p.rego': 'package p\n\nx := {"n": input.n, "trace": data.t}\n\nt := time.now_ns()\n' }

  test('gives the result with its digits and a trace', async () => {
    const { result, trace } = await toolchain.eval({
      files,
      entrypoint: 'p/x',
      input: '{"n":1.0}',
      data: '{"t":"\\"trace\\":\\"x\\""}',
      explain: 'full',
    })
    expect(result).toBe('{"n":1.0,"trace":"\\"trace\\":\\"x\\""}')
    expect(trace).toContain('p.rego:3')
  })

  test('tells undefined from null', async () => {
    expect((await toolchain.eval({ files, entrypoint: 'p/nothing' })).result).toBeUndefined()
    expect((await toolchain.eval({ files: { 'p.rego': 'package p\n\nx := null\n' }, entrypoint: 'p/x' })).result).toBe('null')
  })

  test('happens at the instant that it is told', async () => {
    expect((await toolchain.eval({ files, entrypoint: 'p/t', timeNs: 1_234_567_890_123n })).result).toBe('1234567890123')
  })
})

test('yamlToJson reads as OPA does', async () => {
  expect(JSON.parse(await toolchain.yamlToJson('a: [1, "x"]\nb: {c: true}\n'))).toEqual({ a: [1, 'x'], b: { c: true } })
})

describe('built-in functions', () => {
  test('a call without end stops, and the next one is right', async () => {
    const { evaluate } = await startPolicy('package p\n\nx := count(net.cidr_expand(input))\n\ny := crypto.sha256("abc")\n', ['p/x', 'p/y'])
    for (let i = 0; i < 3; i++) {
      expect(() => evaluate('p/x', '"10.0.0.0/8"')).toThrow(expect.objectContaining({ code: 'ERR_STEPS_EXHAUSTED' }))
      expect(evaluate('p/x', '"10.0.0.0/30"')).toBe('4')
      expect(evaluate('p/y')).toBe('"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"')
    }
  })

  test('opa.runtime shows what it was given and never the environment', async () => {
    process.env.VERDICT_TEST_SECRET = 'canary'
    const { evaluate } = await startPolicy('package p\n\nx := opa.runtime()\n', ['p/x'])
    expect(evaluate('p/x')).toBe('{"version":"test"}')
    delete process.env.VERDICT_TEST_SECRET
  })
})

test('closing fails what runs, with a code', async () => {
  const other = new Toolchain()
  const build = other.build({ files: { 'p.rego': 'package p\n\nx := 1\n' } }, ['p/x'])
  await other.close()
  await expect(build).rejects.toMatchObject({ code: 'ERR_TOOLCHAIN' })
})
