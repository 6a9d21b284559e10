// verdict log query, tail, stats, replay, and explain: over the log of a service with policies that look at the clock, at chance, and at
// what is in the data.
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { listSegments } from '../../src/audit/log-files.ts'
import { ruleTree } from '../../src/audit/rule-tree.ts'
import { archiveOf } from '../support/bundles.ts'
import { runCli, startCli } from '../support/cli.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { until } from '../support/until.ts'

const rego = (owner: string) => `package p

# METADATA
# entrypoint: true
decision := {"allow": allow, "reasons": reasons}

default allow := false

allow if {
	input.subject.id == "${owner}"
	input.action.name == "read"
}

reasons contains "not the owner" if not input.subject.id == "${owner}"

# METADATA
# entrypoint: true
lucky if rand.intn("x", 1000000) == input.context.guess

# METADATA
# entrypoint: true
late if time.now_ns() > input.trusted.time - 1
`
let service: TestService
let folder: string
let ids: Record<string, string>
beforeAll(async () => {
  service = await startTestService({ 'p.rego': rego('ann') }, { labels: { site: 'north' }, 'decisionLog.maxFileBytes': 4_000 })
  folder = join(service.state, 'decisions')
  const ask = async (id: string, more: object = {}, headers: Record<string, string> = {}) =>
    (
      await service.decide(
        {
          subject: { type: 'user', id },
          action: { name: 'read' },
          resource: { type: 'doc', id: 'd1' },
          policy: 'main:p/decision',
          ...more,
        },
        headers,
      )
    ).json.id as string
  ids = {
    ann: await ask('ann', {}, { 'x-request-id': 'first-one', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }),
    bob: await ask('bob'),
    lucky: await ask('ann', { policy: 'main:p/lucky', context: { guess: 7 } }),
    late: await ask('ann', { policy: 'main:p/late' }),
    again: await ask('ann'),
  }
  await ask('ann', { policy: 'main:p/none' })
  // Escapes say the same name.
  await service.decide(
    '{"subject":{"type":"user","id":"\\u0063ath"},"action":{"name":"write"},"resource":{"type":"doc","id":"d2"},"policy":"main:p/decision"}',
  )
  for (let i = 0; i < 20; i++) {
    await ask(`user-${i}`)
    // What a slow disk has not written by the end would come as one group, and a group is never parted into segments.
    if (i === 10) await untilWritten(folder, 4_000)
  }
  const records = await service.stop()
  ids.unknown = String(records.find(({ error }) => error !== undefined)?.id)
})
async function untilWritten(log: string, bytes: number): Promise<void> {
  const written = () => listSegments(log).reduce((sum, file) => sum + statSync(join(log, file)).size, 0)
  await until(10_000, () => written() >= bytes)
}
const cli = async (...args: string[]) => {
  const { code, stdout, stderr } = await runCli(['log', args[0] as string, folder, ...args.slice(1)])
  return { code, stdout, stderr, lines: stdout.split('\n').filter(Boolean) }
}

describe('query', () => {
  test.each<[string, string[], (string | undefined)[]]>([
    ['a subject', ['--subject', 'user:bob'], ['bob']],
    ['its ID alone', ['--subject', 'bob'], ['bob']],
    ['a correlation ID', ['--correlation', 'first-one'], ['ann']],
    ['a trace', ['--trace', 'a'.repeat(32)], ['ann']],
    ['a code', ['--code', 'ERR_UNKNOWN_ENTRYPOINT'], ['unknown']],
    ['a policy', ['--policy', 'main:p/late'], ['late']],
    ['newest first', ['--subject', 'ann', '--outcome', 'allow'], ['again', 'late', 'ann']],
    ['its own ID', ['--id', 'ID'], ['bob']],
    ['a reason and a resource', ['--reason', 'not the owner', '--resource', 'doc:d1', '--subject', 'bob'], ['bob']],
    ['nothing', ['--subject', 'nobody'], []],
    ['another time', ['--to', '2020-01-01T00:00:00Z'], []],
  ])('%s', async (_what, args, wanted) => {
    const { lines } = await cli('query', '--json', ...args.map((one) => (one === 'ID' ? (ids.bob as string) : one)))
    expect(lines.map((line) => JSON.parse(line).id)).toEqual(wanted.map((name) => ids[name as string]))
  })

  test('a name that was sent with escapes is found by what it says', async () => {
    const { lines } = await cli('query', '--subject', 'cath')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/deny +user:cath write doc:d2 main:p\/decision@1 \["not the owner"\]/)
  })

  test('a limit says that there are more; what is no filter is refused', async () => {
    const { lines, stderr } = await cli('query', '--limit', '3')
    expect([lines.length, stderr]).toEqual([3, 'there are more than 3: see --limit\n'])
    expect((await cli('query', '--outcome', 'maybe')).code).toBe(2)
    expect((await cli('query', '--from', 'yesterday')).code).toBe(2)
    expect((await cli('query', '--from', '1h')).lines.length).toBe(27)
  })
})

test('an index is made of whole segments once, and what is found stays the same', async () => {
  const query = async () => (await runCli(['log', 'query', folder, '--subject', 'ann', '--json'])).stdout
  const before = await query()
  expect(before).toContain(ids.ann)
  const made = [await runCli(['log', 'index', folder]), await runCli(['log', 'index', folder])]
  const [first, again] = made.map(({ stdout }) => Number(/^(\d+) of \d+ whole segments had no index/.exec(stdout)?.[1]))
  expect(first).toBeGreaterThan(0)
  expect(again).toBe(0)
  expect(await query()).toBe(before)
  expect((await runCli(['log', 'verify', folder])).code).toBe(0)
})

test.each(['verify', 'decrypt', 'index', 'query', 'tail', 'stats', 'replay'])(
  '%s says that there is no log where there is none',
  async (name) => {
    const more = name === 'decrypt' ? ['--key', 'none.pem'] : []
    const { code, stderr } = await runCli(['log', name, join(folder, 'none'), ...more])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: there is no log at `.*none`.*\(ERR_USAGE\)\n$/)])
  },
)

test('stats count', async () => {
  const json = JSON.parse((await cli('stats', '--json')).stdout)
  expect(json).toMatchObject({
    records: 27,
    cached: 1,
    outcome: { allow: 3, deny: 23, error: 1 },
    code: { ERR_UNKNOWN_ENTRYPOINT: 1 },
    reason: { 'not the owner': 22 },
  })
  expect((await cli('stats')).stdout).toContain('27 decisions from')
})

test('tail shows the newest, and goes on with those that come', async () => {
  const running = await startTestService({ 'p.rego': rego('ann') })
  const question = {
    subject: { type: 'user', id: 'ann' },
    action: { name: 'read' },
    resource: { type: 'doc', id: 'd1' },
    policy: 'main:p/decision',
  }
  await running.decide(question)
  await sleep(300)
  const { child, out } = startCli(['log', 'tail', join(running.state, 'decisions'), '-f', '--subject', 'ann'])
  const untilSaid = async (text: string) => {
    for (let left = 200; left > 0 && !out.stdout.includes(text); left--) await sleep(50)
    expect(out.stdout).toContain(text)
  }
  await untilSaid('user:ann read doc:d1')
  await running.decide({ ...question, subject: { type: 'user', id: 'bob' } })
  await running.decide({ ...question, resource: { type: 'doc', id: 'd\u001b[31m2' } })
  await running.decide({ ...question, resource: { type: 'doc', id: 'd3' } })
  await untilSaid('user:ann read doc:d3')
  expect(out.stdout).not.toContain('bob')
  expect(out.stdout).not.toContain('\u001b[31m2')
  child.kill()
})

describe('replay', () => {
  test('on the bundles that decided, all come out the same; what cannot be made again is said', async () => {
    const json = JSON.parse((await cli('replay', '--json')).stdout)
    expect(json).toMatchObject({ different: 0, skipped: { 'given again': 1, 'no policy': 1 } })
    expect(json.same).toBe(25)
  })

  test('on another bundle it is told what it would change', async () => {
    const file = join(tempFolder(), 'other.tar.gz')
    writeFileSync(file, await archiveOf({ 'p.rego': rego('bob') }))
    const { code, stdout } = await cli('replay', '--on', file, '--json', '--policy', 'main:p/decision')
    const json = JSON.parse(stdout)
    expect(code).toBe(1)
    expect(json.changes).toEqual({ 'allow → deny': 1, 'deny → allow': 1 })
    expect(json.differences.map(({ id }: { id: string }) => id)).toEqual([ids.bob, ids.ann])
  })

  test('without its archive it is skipped', async () => {
    const json = JSON.parse((await cli('replay', '--archives', tempFolder(), '--json')).stdout)
    expect(json.same).toBe(0)
    expect(Object.keys(json.skipped).join()).toContain('is not there')
  })
})

describe('explain', () => {
  const explain = (id: string, ...args: string[]) => runCli(['explain', id, '--log', folder, ...args])

  test('names the rules that were true, and where the others ended', async () => {
    const allowed = (await explain(ids.ann as string)).stdout
    expect(allowed).toContain('✓ data.p.decision  p.rego:5')
    expect(allowed).toContain('✓ data.p.allow  p.rego:9')
    expect(allowed).toMatch(/✗ data\.p\.reasons {2}p\.rego:14\n +does not hold: reasons contains "not the owner"/)
    const denied = (await explain(ids.bob as string)).stdout
    expect(denied).toContain('✗ data.p.allow: no rule of this name fits the input  p.rego:5')
    expect(denied).toContain('✓ data.p.allow, by default  p.rego:7')
    expect(denied).toContain('✓ data.p.reasons  p.rego:14')
    const json = JSON.parse((await explain(ids.bob as string, '--json')).stdout)
    expect(json.rules[0]).toMatchObject({ rule: 'data.p.decision', isTrue: true })
    expect((await explain(ids.bob as string, '--trace')).stdout).toContain('Enter data.p.allow')
  })

  test('says why it cannot', async () => {
    const unknown = await explain('855ab5e6-0000-4000-8000-000000000000')
    expect([unknown.code, unknown.stderr]).toEqual([3, expect.stringContaining('no record in')])
    expect((await explain(ids.unknown as string)).stderr).toContain('no policy decided it')
    expect((await runCli(['explain', 'x', '--log', join(folder, 'none')])).stderr).toContain('there is no log at')
  })

  test('a trace that is none has no rules', () => expect(ruleTree('nothing\n| | x\n')).toEqual([]))
})
