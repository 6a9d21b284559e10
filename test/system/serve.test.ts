// The service as a process: start, faults at start, watch, stop under load.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { runCli, serveCli } from '../support/cli.ts'
import { question, readRecords } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const rego = (id: string) => `package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "${id}"\n`

async function ask(url: string, body: object = question): Promise<{ decision: boolean; policy: { epoch: number } }> {
  const response = await fetch(`${url}/v1/decide`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as never
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return
    await sleep(50)
  }
  throw new Error('it did not come to be')
}

describe('start', () => {
  test('says what is loaded, where it listens and what to try, and answers', async () => {
    const state = tempFolder()
    const served = await serveCli(['--bundle', tempFolder({ 'p.rego': rego('alice') }), '--state', state])
    expect((await ask(served.url)).decision).toBe(true)
    expect(served.out.stdout).toContain('p/allow (default)')
    expect(served.out.stdout).toContain(`curl -s ${served.url}/v1/decide`)
    const second = await runCli(['serve', '--port', '0', '--grpc-port', '0', '--state', state])
    expect([second.code, second.stdout]).toEqual([3, ''])
    expect(second.stderr).toContain('ERR_STATE_LOCKED')
    served.child.kill('SIGTERM')
    expect((await served.ended).code).toBe(0)
    expect(readRecords(join(state, 'decisions'))).toHaveLength(1)
  })

  test.each([
    ['a policy with a fault', { 'p.rego': 'package p\n\nallow if {' }, [], 3, 'p.rego:3:'],
    ['a bundle that is none', { x: '' }, ['--bundle', 'x'], 3, 'ERR_'],
    ['an open address without authentication', { 'p.rego': rego('a') }, ['--host', '0.0.0.0'], 2, 'authenticat'],
  ])('%s is refused, with what is wrong', async (_what, files, args, code, text) => {
    const outcome = await runCli([
      'serve',
      '--port',
      '0',
      '--state',
      tempFolder(),
      ...(args.includes('--bundle') ? args : ['--bundle', tempFolder(files as never), ...args]),
    ])
    expect(outcome.code).toBe(code)
    expect(outcome.stderr).toContain(text)
  })

  test('a port that is taken is named', async () => {
    const served = await serveCli(['--state', tempFolder()])
    const outcome = await runCli(['serve', '--port', new URL(served.url).port, '--grpc-port', '0', '--state', tempFolder()])
    expect([outcome.code, outcome.stderr.includes('--port')]).toEqual([3, true])
    served.child.kill('SIGTERM')
    await served.ended
  })
})

test('watch: an edit changes the next decision; a broken one keeps the old policy and says file, line and column', async () => {
  const folder = tempFolder({ 'p.rego': rego('bob') })
  const served = await serveCli(['--bundle', folder, '--state', tempFolder(), '--watch'])
  expect(await ask(served.url)).toMatchObject({ decision: false, policy: { epoch: 1 } })
  writeFileSync(join(folder, 'p.rego'), rego('alice'))
  await until(async () => (await ask(served.url)).decision)
  expect((await ask(served.url)).policy.epoch).toBe(2)
  writeFileSync(join(folder, 'p.rego'), 'package p\n\nallow if {\n\tinput.x ==\n}\n')
  await until(() => served.out.stderr.includes('p.rego:5:1: rego_parse_error'))
  expect(await ask(served.url)).toMatchObject({ decision: true, policy: { epoch: 2 } })
  writeFileSync(join(folder, 'data.json'), '{"a":1}')
  writeFileSync(join(folder, 'p.rego'), rego('bob'))
  await until(async () => !(await ask(served.url)).decision)
  served.child.kill('SIGTERM')
  await served.ended
})

test('SIGTERM under load loses no answer and no record', async () => {
  const state = tempFolder()
  const served = await serveCli(['--bundle', tempFolder({ 'p.rego': rego('alice') }), '--state', state])
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const body = JSON.stringify(question)
  const answered: string[] = []
  let halves = 0
  let refused = 0
  const once = () =>
    new Promise<void>((done) => {
      const outgoing = request(
        `${served.url}/v1/decide`,
        { agent, method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length } },
        (response) => {
          let text = ''
          response.on('data', (data) => (text += data))
          response.on('end', () => {
            if (response.statusCode === 200) answered.push(JSON.parse(text).id)
            else halves++
            done()
          })
          response.on('error', () => {
            halves++
            done()
          })
        },
      )
      // Without an answer begun, a refused or closed idle connection is no loss: the client knows to ask elsewhere.
      outgoing.on('error', () => {
        refused++
        done()
      })
      outgoing.end(body)
    })
  let stopped = false
  const clients = Array.from({ length: 16 }, async () => {
    while (!stopped) await once()
  })
  await until(() => answered.length > 500)
  served.child.kill('SIGTERM')
  const { code } = await served.ended
  stopped = true
  await Promise.all(clients)
  agent.destroy()
  expect([code, halves]).toEqual([0, 0])
  const recorded = new Set(readRecords(join(state, 'decisions')).map((record) => record.id))
  expect(answered.filter((id) => !recorded.has(id))).toEqual([])
  expect(recorded.size).toBe(answered.length)
  expect(refused).toBeGreaterThan(0)
  expect(existsSync(join(state, 'admin.token'))).toBe(true)
  expect(readFileSync(join(state, 'admin.token'), 'utf8').length).toBeGreaterThan(40)
})
