// The life of a bundle by command line, against a service in a process of its own.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { archiveOf } from '../support/bundles.ts'
import { runCli, serveCli } from '../support/cli.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = (condition: string, data = '{}') => ({
  'p.rego': `package p\n\n# METADATA\n# entrypoint: true\nallow if ${condition}\n`,
  'data.json': data,
})

test('push, list, show, diff, rollback, acts, gc', async () => {
  const state = tempFolder()
  const folder = tempFolder()
  const { url, child } = await serveCli(['--state', state])
  const verdict = (...args: string[]) => runCli([...args, '--server', url, '--state', state])
  const [one, two, bad] = ['one.tar.gz', 'two.tar.gz', 'bad.tar.gz'].map((name) => join(folder, name)) as [string, string, string]
  writeFileSync(one, await archiveOf(policy('input.subject.id == "alice"', '{"roles":{"a":1}}')))
  writeFileSync(two, await archiveOf(policy('input.subject.id == "bob"', '{"roles":{"a":2,"b":1}}')))
  writeFileSync(bad, await archiveOf({ ...policy('true'), 'p_test.rego': 'package p_test\n\ntest_no if false\n' }))

  const first = await verdict('push', one)
  expect([first.code, first.stdout]).toEqual([
    0,
    expect.stringMatching(/passed {2}module: 1 entrypoint[\s\S]*main sha256:\w{64} active, epoch 1/),
  ])
  expect((await verdict('push', two, '--json')).stdout).toContain('"epoch": 2')
  const rejected = await verdict('push', bad)
  expect([rejected.code, rejected.stdout]).toEqual([1, expect.stringContaining('failed  tests: 0 of 1 tests passed')])

  const { revisions } = JSON.parse((await verdict('bundles', 'list', 'main', '--json')).stdout)
  expect(revisions.map(({ status, active }: { status: string; active: boolean }) => [status, active])).toEqual([
    ['rejected', false],
    ['ready', true],
    ['ready', false],
  ])
  const before = revisions[2].digest.slice(7, 19)
  expect((await verdict('bundles', 'list')).stdout).toContain('main')
  expect((await verdict('bundles', 'show', 'main', before)).stdout).toContain('passed  types')
  const { stdout: changes } = await verdict('bundles', 'diff', 'main', before)
  expect(changes).toContain('- allow if input.subject.id == "alice"\n+ allow if input.subject.id == "bob"')
  expect(changes).toContain('/roles/a: 1 → 2\n/roles/b: nothing → 1')
  expect(changes).toContain('recorded decisions asked again, 0 change')
  expect((await verdict('bundles', 'shadow', 'main', before)).stdout).toContain(`${before} compared 0, passed over 0`)
  expect((await verdict('bundles', 'shadow', 'main', '--end')).code).toBe(0)
  expect((await verdict('bundles', 'rollback', 'main')).stdout).toContain('active, epoch 3')
  expect((await verdict('bundles', 'acts', 'main')).stdout).toMatch(/11 \S+ token:admin rolled_back main \w{12} epoch 3/)
  expect((await verdict('bundles', 'gc', '--keep', '1')).stdout).toBe('0 removed\n')
  const unknown = await verdict('bundles', 'show', 'main', 'ffff')
  expect([unknown.code, unknown.stderr]).toEqual([3, expect.stringContaining('ERR_UNKNOWN_REVISION')])
  child.kill('SIGTERM')
}, 120_000)

test('a service that is not there, and a token that is not there, are said', async () => {
  const folder = tempFolder({ 'b.tar.gz': 'x' })
  const away = await runCli(['push', join(folder, 'b.tar.gz'), '--server', 'http://127.0.0.1:1', '--token', 'x'])
  expect([away.code, away.stderr]).toEqual([3, expect.stringContaining('cannot be reached')])
  const without = await runCli(['bundles', 'list', '--state', folder])
  expect([without.code, without.stderr]).toEqual([2, expect.stringContaining('--token')])
})
