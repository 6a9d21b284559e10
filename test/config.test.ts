import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { isLoopback, listSettings, loadConfig } from '../src/config.ts'
import { tempFolder } from './support/temp-folder.ts'

function faultsOf(options: Parameters<typeof loadConfig>[0]): string[] {
  try {
    loadConfig(options)
  } catch (error) {
    return (error as { findings: { message: string }[] }).findings.map((finding) => finding.message)
  }
  return []
}

const file = (text: string) => join(tempFolder({ 'verdict.yaml': text }), 'verdict.yaml')

test('without anything the defaults hold', () => {
  expect(loadConfig({ env: {} })).toMatchObject({
    state: '.verdict',
    server: { host: '127.0.0.1', port: 8181, grpcPort: 9191 },
    bundles: [],
  })
})

test('variables override the file, and options override both', () => {
  const yaml = file('server: {port: 1, maxBodyBytes: 5000}\nlabels: {env: prod}\n')
  const config = loadConfig({ file: yaml, env: { VERDICT_SERVER_PORT: '2', VERDICT_WATCH: 'true' }, overrides: { 'server.port': 3 } })
  expect(config.server).toMatchObject({ port: 3, maxBodyBytes: 5_000 })
  expect(config).toMatchObject({ watch: true, labels: { env: 'prod' } })
})

test('variables can hold lists, and text that looks like a number where text is wanted', () => {
  const env = { VERDICT_BUNDLES: '[{path: policies}]', VERDICT_DECISION_LOG_MASK: '[/input/context/a]', VERDICT_DECISION_LOG_SHARD: '07' }
  expect(loadConfig({ env })).toMatchObject({
    bundles: [{ name: 'main', path: 'policies' }],
    decisionLog: { mask: ['/input/context/a'], shard: '07' },
  })
})

test('every fault is reported at once', () => {
  const yaml = file('server: {port: 70000, prot: 1}\ndecisionLog: {mask: [nope]}\nbundles: [{path: a}, {path: b}]\n')
  const faults = faultsOf({ file: yaml, env: { VERDICT_NO_SUCH: '1', VERDICT_EVALUATION_MAX_STEPS: 'many' } })
  for (const part of ['server.port', 'server: ', 'prot', 'decisionLog.mask', 'VERDICT_NO_SUCH', 'evaluation.maxSteps']) {
    expect(faults.join('\n')).toContain(part)
  }
})

test.each([
  ['no file', () => '/nonexistent.yaml'],
  ['a list', () => file('[1]')],
  ['broken YAML', () => file('a: [')],
  ['a key twice', () => file('state: a\nstate: b\n')],
])('%s is a fault', (_what, path) => expect(faultsOf({ file: path(), env: {} })).not.toEqual([]))

test('the same bundle name twice is a fault', () => {
  expect(faultsOf({ env: {}, overrides: { bundles: [{ path: 'a' }, { path: 'b' }] } })).toEqual([expect.stringContaining('`main`')])
})

describe('listening beyond loopback', () => {
  test.each(['0.0.0.0', '::', '192.0.2.1', 'example.org'])('%s wants authentication', (host) => {
    expect(isLoopback(host)).toBe(false)
    expect(faultsOf({ env: {}, overrides: { 'server.host': host } })).toEqual([expect.stringContaining('authenticat')])
    expect(faultsOf({ env: {}, overrides: { 'server.host': host, 'authentication.decideTokenFile': 'x' } })).toEqual([])
  })

  test.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('%s does not', (host) => {
    expect(isLoopback(host)).toBe(true)
    expect(faultsOf({ env: {}, overrides: { 'server.host': host } })).toEqual([])
  })
})

test('every setting is described and has a variable of its own', () => {
  const settings = listSettings()
  expect(settings.length).toBeGreaterThan(25)
  expect(new Set(settings.map((s) => s.variable)).size).toBe(settings.length)
  expect(settings.filter((s) => (s.schema.description ?? '') === '').map((s) => s.path.join('.'))).toEqual([])
})
