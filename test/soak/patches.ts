// A soak: patches.ts MINUTES. Recorded decisions one after the other as fast as they go, and a change of data every second;
// every answer must be what the data says at that moment, and memory must be flat within 2 % after a warm-up.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { listSegments } from '../../src/audit/log-files.ts'
import { startDecider } from '../support/decider.ts'

const minutes = Number(process.argv[2] ?? 1)
const maxGrowth = 1.02
const users = 20_000
/** Users whose roles change; half of them are not there at first. */
const patched = 60
const roles = ['reader', 'writer', 'admin']
const folder = mkdtempSync(join(tmpdir(), 'verdict-soak-'))
const policy = join(folder, 'policy')
mkdirSync(policy)
writeFileSync(
  join(policy, 'p.rego'),
  'package p\n\n# METADATA\n# entrypoint: true\nd := {"allow": allow, "reasons": roles}\n\ndefault allow := false\n\nallow if "writer" in roles\n\nroles := object.get(data.users, input.subject.id, [])\n',
)
const known = new Map<string, string[]>()
for (let i = 0; i < users; i++) known.set(`user${i}`, [roles[i % 3] as string])
writeFileSync(join(policy, 'data.json'), JSON.stringify({ users: Object.fromEntries(known) }))

// What waits for a disk that is slow for a while is memory, too; a small bound keeps it out of what is measured.
const logOptions = { maxFileBytes: 16 * 2 ** 20, maxPendingBytes: 4 * 2 ** 20 }
const { decider, instance, log, decisionsFolder, close } = await startDecider(policy, join(folder, 'state'), logOptions)
const caller = { authenticated: false, address: '127.0.0.1' }

let [answers, wrong, patches] = [0, 0, 0]
const samples: number[] = []
const end = Date.now() + minutes * 60_000
for (let next = Date.now() + 1_000; Date.now() < end; ) {
  // Nothing is answered while too much waits; the log writes when it gets a turn.
  for (let i = 0; i < 200 && log.available; i++) ask()
  await nextTurn()
  if (Date.now() < next) continue
  next += 1_000
  patch()
  samples.push(process.memoryUsage.rss())
  for (const name of listSegments(decisionsFolder).slice(0, -2)) rmSync(join(decisionsFolder, name))
}
await close()
rmSync(folder, { recursive: true, force: true })

// Memory of V8 and of the allocator settles within a quarter of an hour; what goes on growing is a leak.
const warm = samples.slice(Math.floor(samples.length / 2))
const quarter = Math.ceil(warm.length / 4)
const [first, last] = [mean(warm.slice(0, quarter)), mean(warm.slice(-quarter))]
const tenth = Math.ceil(samples.length / 10)
const course = Array.from({ length: 10 }, (_, i) => mib(mean(samples.slice(i * tenth, (i + 1) * tenth))))
const perSecond = Math.round(answers / (minutes * 60)).toLocaleString('en')
process.stdout.write(
  `${answers.toLocaleString('en')} recorded decisions (${perSecond} a second), ${patches} changes of data, ${wrong} wrong; resident memory ${mib(first)} MiB to ${mib(last)} MiB; by tenths of the time ${course.join(', ')}\n`,
)
process.exit(wrong > 0 || answers === 0 || last / first > maxGrowth ? 1 : 0)

function ask(): void {
  const id = `user${Math.floor(Math.random() * users * 1.1)}`
  const [subject, action, resource] = [`{"type":"user","id":"${id}"}`, '{"name":"write"}', `{"type":"doc","id":"${answers}"}`]
  const decision = decider.decide({
    door: 'decide',
    correlationId: 'soak',
    trace: undefined,
    caller,
    timeMs: Date.now(),
    input: `{"subject":${subject},"action":${action},"resource":${resource}}`,
    subject,
    action,
    resource,
  })
  if (decision instanceof Promise) throw new Error('an evaluation without the network took a promise')
  const expected = known.get(id) ?? []
  const isRight = decision.reasons === JSON.stringify(expected) && decision.outcome === (expected.includes('writer') ? 'allow' : 'deny')
  if (!isRight) wrong++
  answers++
}

/** Grants, takes away, or gives a list of any length; always to the same few, so that the data does not grow by itself. */
function patch(): void {
  const id = `user${users - patched / 2 + Math.floor(Math.random() * patched)}`
  const length = Math.floor(Math.random() * 40)
  if (length === 0) known.delete(id)
  else
    known.set(
      id,
      Array.from({ length }, (_, i) => roles[i] ?? `role${Math.floor(Math.random() * 1_000)}`),
    )
  const value = known.get(id)
  instance.patchData(['users', id], value && JSON.stringify(value))
  patches++
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

function mib(bytes: number): number {
  return Math.round(bytes / 2 ** 20)
}
