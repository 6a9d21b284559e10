// Each command as its users run it: what it prints, where, and its exit code.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { runCli } from '../support/cli.ts'
import { tempFolder } from '../support/temp-folder.ts'

const good = {
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.user == data.users[_]\n',
  'p_test.rego': 'package p_test\n\nimport data.p\n\ntest_allow if p.allow with input as {"user": "a"} with data.users as ["a"]\n',
  'data.json': '{"users":["a"],"n":1.0}',
}
const broken = { 'p.rego': 'package p\n\nallow if {\n\tinput.x ==\n}\n' }

describe('help', () => {
  test.each(['serve', 'build', 'test', 'check', 'fmt', 'eval', 'doctor'])('%s --help has examples and ends with 0', async (command) => {
    const { code, stdout, stderr } = await runCli([command, '--help'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('Examples:')
    expect(stdout).toContain(command === 'serve' ? '--watch' : '--json')
  })

  test.each([[['nonsense']], [['build']], [['test', '--nonsense', '.']], [['serve', '--port', 'x']], [['eval']]])(
    '%j is a usage error',
    async (args) => {
      const { code, stdout, stderr } = await runCli(args as string[])
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).not.toBe('')
    },
  )
})

describe('check', () => {
  test('says file, row and column of a fault, and ends with 1', async () => {
    const { code, stderr } = await runCli(['check', tempFolder(broken)])
    expect(code).toBe(1)
    expect(stderr).toContain('p.rego:5:1: rego_parse_error')
    expect(stderr).not.toContain('\u001b[')
  })

  test('gives findings as JSON', async () => {
    const { code, stdout } = await runCli(['check', '--json', tempFolder(broken)])
    expect(code).toBe(1)
    expect(JSON.parse(stdout).findings[0]).toMatchObject({ code: 'rego_parse_error', location: { file: 'p.rego', row: 5, col: 1 } })
  })

  test('a folder that is not there ends with 3', async () => {
    expect((await runCli(['check', '/nonexistent'])).code).toBe(3)
  })
})

describe('test', () => {
  test('passes, and fails below a threshold of coverage', async () => {
    const folder = tempFolder({ ...good, 'q.rego': 'package q\n\nunused if input.x\n' })
    const passed = await runCli(['test', folder])
    expect(passed.code).toBe(0)
    expect(passed.stdout).toContain('1 passed, 0 failed, 0 skipped')
    expect(passed.stdout).toContain('q.rego:3 is not covered')
    const below = await runCli(['test', folder, '--threshold', '100', '--json'])
    expect(below.code).toBe(1)
    expect(JSON.parse(below.stdout).summary.pass).toBe(1)
  })

  test('shows where a test failed', async () => {
    const { code, stdout } = await runCli([
      'test',
      tempFolder({ ...good, 'p_test.rego': 'package p_test\n\nimport data.p\n\ntest_no if p.allow with input as {"user": "z"}\n' }),
    ])
    expect(code).toBe(1)
    expect(stdout).toMatch(/FAIL data\.p_test\.test_no \(p_test\.rego:5\)/)
    expect(stdout).toContain('Fail')
  })

  test('no test at all ends with 1', async () => {
    expect((await runCli(['test', tempFolder({ 'p.rego': good['p.rego'] })])).code).toBe(1)
  })
})

test('fmt lists, then writes', async () => {
  const folder = tempFolder({ 'p.rego': 'package p\nallow   if input.x' })
  expect(await runCli(['fmt', folder])).toMatchObject({ code: 1, stdout: 'p.rego\n' })
  expect(await runCli(['fmt', '--write', folder])).toMatchObject({ code: 0 })
  expect(readFileSync(join(folder, 'p.rego'), 'utf8')).toBe('package p\n\nallow if input.x\n')
  expect(await runCli(['fmt', '--json', folder])).toMatchObject({ code: 0 })
})

describe('build and eval', () => {
  test('a bundle and its folder give the same, with every digit', async () => {
    const folder = tempFolder(good)
    const file = join(tempFolder(), 'b.tar.gz')
    const built = await runCli(['build', folder, '-o', file, '--revision', 'r1', '--json'])
    expect(built.code).toBe(0)
    expect(JSON.parse(built.stdout)).toMatchObject({ revision: 'r1', entrypoints: [{ path: 'p/allow', reads: { input: [['user']] } }] })
    const input = '{"user":"a"}'
    expect(await runCli(['eval', '-b', file, '-i', '-'], input)).toMatchObject({ code: 0, stdout: '{"result":true}\n' })
    expect(await runCli(['eval', '-d', folder, '-i', '-'], input)).toMatchObject({ code: 0, stdout: '{"result":true}\n' })
    expect(await runCli(['eval', '-b', file, '-i', '-', '--fail'], '{"user":"z"}')).toMatchObject({
      code: 1,
      stdout: '{"undefined":true}\n',
    })
    const explained = await runCli(['eval', '-b', file, '-i', '-', '--explain'], input)
    expect(explained.stderr).toContain('p.rego:5')
  })

  test('an unwritable output ends with 3', async () => {
    expect((await runCli(['build', tempFolder(good), '-o', '/nonexistent/b.tar.gz'])).code).toBe(3)
  })

  test('eval --jsonl answers each line in order, numbers as they were', async () => {
    const line = (value: object) => JSON.stringify(value)
    const modules = { 'p.rego': 'package p\n\nx := input\n\ny := data.n\n\nz := units.parse("oops")\n\nu if false\n' }
    const stdin = [
      `{"modules":${line(modules)},"input":{"a":[1.0,12345678901234567890]},"entrypoint":"p/x"}`,
      line({ modules, data: { n: 7 }, entrypoint: 'p/y' }),
      line({ modules, entrypoint: 'p/u' }),
      line({ modules, input: false, entrypoint: 'p/x' }),
      line({ modules, entrypoint: 'p/x' }),
      line({ modules, entrypoint: 'p/z', strict_builtin_errors: true }),
      line({ modules: { 'p.rego': 'package p\n\nx := ' }, entrypoint: 'p/x' }),
      'nonsense',
      line({ entrypoint: 'p/x' }),
    ]
    const { code, stdout } = await runCli(['eval', '--jsonl'], `${stdin.join('\n')}\n`)
    const lines = stdout.trim().split('\n')
    expect(code).toBe(0)
    expect(lines.slice(0, 5)).toEqual([
      '{"result":{"a":[1.0,12345678901234567890]}}',
      '{"result":7}',
      '{"undefined":true}',
      '{"result":false}',
      '{"undefined":true}',
    ])
    expect(lines.slice(5).map((l) => JSON.parse(l).error.code)).toEqual([
      'ERR_BUILTIN_FAILED',
      'ERR_REGO',
      'ERR_INVALID_JSON',
      'ERR_INVALID_REQUEST',
    ])
  })
})

describe('doctor', () => {
  test('finds nothing wrong where nothing is', async () => {
    const { code, stdout } = await runCli(['doctor', '--bundle', tempFolder(good), '--state', tempFolder(), '--json'], '', {
      VERDICT_SERVER_PORT: '0',
    })
    expect(JSON.parse(stdout).examinations.filter((e: { ok: boolean }) => !e.ok)).toEqual([])
    expect(code).toBe(0)
  })

  test('names what is wrong: a broken bundle, a taken port, an open token file', async () => {
    const server = createServer()
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { port } = server.address() as { port: number }
    const folder = tempFolder({ token: 't'.repeat(40) })
    writeFileSync(join(folder, 'v.yaml'), `authentication: {decideTokenFile: ${folder}/token}\nserver: {port: ${port}}\n`)
    const { code, stdout } = await runCli(['doctor', '--config', join(folder, 'v.yaml'), '--bundle', tempFolder(broken), '--state', folder])
    server.close()
    expect(code).toBe(1)
    expect(stdout).toContain('FAIL bundle main')
    expect(stdout).toContain('p.rego:5:1')
    expect(stdout).toContain('FAIL port')
    expect(stdout).toContain('chmod 600')
  })

  test('reports every fault of a configuration', async () => {
    const folder = tempFolder({ 'v.yaml': 'server: {port: x, host: 0.0.0.0}\nnope: 1\n' })
    const { code, stdout } = await runCli(['doctor', '--config', join(folder, 'v.yaml')])
    expect(code).toBe(1)
    expect(stdout).toContain('server.port')
    expect(stdout).toContain('nope')
  })
})

test('errors are JSON on request', async () => {
  const { code, stderr } = await runCli(['build', '/nonexistent', '-o', 'x', '--json'])
  expect(code).toBe(3)
  expect(JSON.parse(stderr).error.code).toBe('ERR_FILE')
  expect(existsSync('x')).toBe(false)
})
