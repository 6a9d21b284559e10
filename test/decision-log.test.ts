// The decision log of a service: its checkpoint over HTTP, what a strict one says of keeping answers, one that somebody changed.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { listSegments } from '../src/audit/log-files.ts'
import { recoveredRecordSchema } from '../src/audit/record-schema.ts'
import { parseVerifier } from '../src/audit/tree/note.ts'
import { verifyLog } from '../src/audit/verify-log.ts'
import { createClient } from '../src/client/index.ts'
import { createEmbedded } from '../src/embedded/index.ts'
import { runCli } from './support/cli.ts'
import { question, startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const policy = {
  'p.rego':
    'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.subject.id == "alice", "cache": {"max_age_ms": 60000}}\n',
}
const tokenOf = ({ state }: TestService) => readFileSync(join(state, 'admin.token'), 'utf8').trim()
const keysOf = (folder: string) => readFileSync(join(folder, 'tree/log.vkey'), 'utf8').trim().split('\n').map(parseVerifier)

test('what is signed for is given to auditors, and what came later goes with it', async () => {
  const files = tempFolder({ ops: 'the-secret-token-of-the-operator', audit: 'the-secret-token-of-the-auditor' })
  const service = await startTestService(policy, {
    'decisionLog.origin': 'pdp.example/log',
    'decisionLog.checkpointIntervalMs': 20,
    'authentication.callers': [
      { id: 'ops', tokenFile: `${files}/ops`, roles: ['operate'] },
      { id: 'auditor', tokenFile: `${files}/audit`, roles: ['audit'] },
    ],
  })
  const get = (token: string) => fetch(`${service.url}/v1/log/checkpoint`, { headers: { authorization: `Bearer ${token}` } })
  expect((await get('the-secret-token-of-the-operator')).status).toBe(403)
  expect((await get('the-secret-token-of-the-auditor')).status).toBe(404)
  const answer = await service.decide(question, { authorization: `Bearer ${tokenOf(service)}` })
  expect(answer.status).toBe(200)
  let kept = await get('the-secret-token-of-the-auditor')
  for (let left = 100; left > 0 && kept.status !== 200; left--) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    kept = await get('the-secret-token-of-the-auditor')
  }
  const note = Buffer.from(await kept.text())
  expect(note.toString()).toMatch(/^pdp\.example\/log\n1\n/)
  await service.decide(question, { authorization: `Bearer ${tokenOf(service)}` })
  await service.stop()
  const folder = join(service.state, 'decisions')
  const report = verifyLog({ folder, keys: keysOf(folder), earlier: [{ name: 'kept', note }], record: answer.json.id })
  expect(report).toMatchObject({ entries: 2, faults: [], inclusion: { entry: 0, size: 2 } })
})

test('a strict log forbids to keep answers, and to decide elsewhere', async () => {
  const service = await startTestService(policy, { 'decisionLog.guarantee': 'strict' })
  expect((await service.decide(question)).json).toMatchObject({ decision: true, cache: { max_age_ms: 0 } })
  // What the service keeps itself has a record each time.
  await service.decide(question)
  const client = createClient({ urls: [service.url], keep: {} })
  await new Promise((resolve) => setTimeout(resolve, 200))
  const ask = { subject: { type: 'user', id: 'alice' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } }
  const [first, second] = [await client.decide(ask), await client.decide(ask)]
  expect(first.id).not.toBe(second.id)
  const embedded = await createEmbedded({ urls: [service.url], token: tokenOf(service), bundles: [{ name: 'main' }] })
  expect((await embedded.decide(ask)).decision).toBe(true)
  expect(embedded.counts).toEqual({ here: 0, service: 1 })
  await embedded.close()
  await client.close()
  const records = await service.stop()
  expect(records.map(({ cached }) => cached).slice(0, 2)).toEqual([false, true])
})

test('a batch waits for few syncs, its answers are in their order, and each has its record', async () => {
  const service = await startTestService(policy, { 'decisionLog.guarantee': 'strict' })
  const evaluations = Array.from({ length: 300 }, (_, i) => ({ subject: { type: 'user', id: i % 3 === 0 ? 'alice' : `u${i}` } }))
  const { json } = await service.decide({ action: { name: 'read' }, resource: { type: 'doc', id: '1' }, evaluations })
  expect(json.evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual(evaluations.map((_, i) => i % 3 === 0))
  const stopped = await service.decide({
    action: { name: 'read' },
    resource: { type: 'doc', id: '1' },
    evaluations,
    options: { evaluations_semantic: 'deny_on_first_deny' },
  })
  expect(stopped.json.evaluations).toHaveLength(2)
  const records = await service.stop()
  expect(records.map(({ id }) => id)).toEqual([...json.evaluations, ...stopped.json.evaluations].map(({ id }: { id: string }) => id))
})

test('a log that is being written verifies at every moment', async () => {
  const service = await startTestService(policy, { 'decisionLog.maxFileBytes': 50_000, 'decisionLog.checkpointIntervalMs': 10 })
  const folder = join(service.state, 'decisions')
  await service.decide(question)
  let isOver = false
  const evaluations = Array.from({ length: 200 }, (_, i) => ({ subject: { type: 'user', id: `u${i}` } }))
  const load = (async () => {
    while (!isOver) await service.decide({ action: { name: 'read' }, resource: { type: 'doc', id: '1' }, evaluations })
  })()
  while (!existsSync(join(folder, 'tree/checkpoint'))) await new Promise((resolve) => setTimeout(resolve, 10))
  for (let i = 0; i < 40; i++) {
    expect(verifyLog({ folder, keys: keysOf(folder) }).faults).toEqual([])
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  isOver = true
  await load
  expect((await service.stop()).length).toBeGreaterThan(1_000)
})

test('a torn line is cut, and a record says so; a log that was changed is not added to', async () => {
  const first = await startTestService(policy)
  await first.decide(question)
  await first.stop()
  const folder = join(first.state, 'decisions')
  const [file] = listSegments(folder) as [string]
  appendFileSync(join(folder, file), '{"id":"half')
  const second = await startTestService(policy, { state: first.state })
  await second.decide(question)
  const records = await second.stop()
  expect(records.map(({ seq }) => seq)).toEqual([1, 2, 3])
  expect(recoveredRecordSchema.strict().parse(records[1])).toMatchObject({ file, cut_bytes: 11 })
  expect(second.logged.some(({ msg }) => `${msg}`.includes('ended within a line'))).toBe(true)
  expect(verifyLog({ folder, keys: keysOf(folder) }).faults).toEqual([])

  const text = readFileSync(join(folder, file), 'utf8')
  writeFileSync(join(folder, file), text.replace('"decision":true', '"decision":fals'))
  await expect(startTestService(policy, { state: first.state })).rejects.toMatchObject({ code: 'ERR_LOG_BROKEN' })
  const { code, stdout } = await runCli(['log', 'verify', folder])
  expect(code).toBe(1)
  expect(stdout).toContain(`entry 0, line 1 of \`${file}\`, is not what was written, record ${records[0]?.id}`)
  const json = JSON.parse((await runCli(['log', 'verify', folder, '--json'])).stdout)
  expect(json).toMatchObject({ own_key: true, faults: [{ code: 'changed', entry: 0, line: 1 }, { code: 'root' }] })
  expect((await runCli(['log', 'verify', folder, '--key', 'nowhere'])).stderr).toContain('`nowhere` cannot be read')
})
