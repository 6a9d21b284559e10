// The strict guarantee as the operating system sees it, where STRACE_PROGRAM names the program: no answer leaves before the sync of its
// record. And a disk that is full, where TMPFS_FOLDER names an empty folder that a small file system may be mounted on.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from '@jest/globals'
import { parseVerifier } from '../../src/audit/tree/note.ts'
import { verifyLog } from '../../src/audit/verify-log.ts'
import { serveCli } from '../support/cli.ts'
import { question, readRecords } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const { STRACE_PROGRAM: strace, TMPFS_FOLDER: tmpfs } = process.env
const policy = () => tempFolder({ 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' })
const mounted: string[] = []
afterAll(() => {
  for (const folder of mounted) execFileSync('umount', [folder])
})

const ask = (url: string, id: string, pad = '') =>
  fetch(`${url}/v1/decide`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': id },
    body: JSON.stringify({ ...question, context: { pad } }),
  })

const withStrace = strace === undefined ? test.skip : test
withStrace(
  'the sync of a record comes before the answer that it belongs to',
  async () => {
    const trace = join(tempFolder(), 'trace')
    const under = [strace as string, '-f', '-y', '-s', '100000', '-e', 'trace=pwritev,pwrite64,fdatasync,write,writev', '-o', trace]
    const served = await serveCli(['--bundle', policy(), '--state', tempFolder()], { VERDICT_DECISION_LOG_GUARANTEE: 'strict' }, under)
    const ids = Array.from({ length: 30 }, (_, i) => `answer-${i}-end`)
    // One after the other, and then at once.
    for (const id of ids.slice(0, 10)) expect((await ask(served.url, id)).status).toBe(200)
    await Promise.all(ids.slice(10).map((id) => ask(served.url, id)))
    // The service itself, and not the one who looks on.
    process.kill(Number(/^\d+/.exec(readFileSync(trace, 'utf8'))?.[0]), 'SIGTERM')
    await served.ended
    const calls = readFileSync(trace, 'utf8').split('\n')
    for (const id of ids) {
      const written = calls.findIndex(
        (line) => /pwrite(?:v|64)\(\d+<[^>]*ndjson>/.test(line) && line.includes(`"${id}`.replaceAll('"', '\\"')),
      )
      // The thread that wrote it, and what it calls next.
      const [thread] = /^\d+/.exec(calls[written] ?? '') ?? []
      const synced = calls.findIndex(
        (line, i) =>
          i > written && line.startsWith(`${thread} `) && /(?:fdatasync\(\d+<[^>]*ndjson>\)|fdatasync resumed>\)).* = 0/.test(line),
      )
      const answered = calls.findIndex((line) => /\bwritev?\(\d+<(?:TCP|socket)/.test(line) && line.includes(`x-request-id: ${id}`))
      expect({ id, isWritten: written >= 0, isSynced: synced >= 0, isAnswered: answered >= 0 }).toEqual({
        id,
        isWritten: true,
        isSynced: true,
        isAnswered: true,
      })
      expect(written).toBeLessThan(synced)
      expect(synced).toBeLessThan(answered)
    }
  },
  120_000,
)

const withTmpfs = tmpfs === undefined ? test.skip : test
withTmpfs.each(['strict', 'durable'])(
  'a disk that is full denies, loses nothing that was answered, and goes on when there is room (%s)',
  async (guarantee) => {
    const folder = tmpfs as string
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'none', folder])
    mounted.push(folder)
    const env = { VERDICT_DECISION_LOG_GUARANTEE: guarantee, VERDICT_DECISION_LOG_FOLDER: join(folder, 'log') }
    const served = await serveCli(['--bundle', policy(), '--state', tempFolder()], env)
    const ballast = join(folder, 'ballast')
    writeFileSync(ballast, Buffer.alloc(200 * 1024))
    const given = new Set<string>()
    let status = 200
    for (let i = 0; i < 2_000 && status === 200; i++) {
      const answer = await ask(served.url, `full-${i}`, 'x'.repeat(2_000))
      status = answer.status
      const { id, decision } = (await answer.json()) as { id: string; decision: boolean }
      if (status === 200 && decision) given.add(id)
    }
    expect(status).toBe(503)
    expect((await fetch(`${served.url}/readyz`)).status).toBe(503)
    expect(given.size).toBeGreaterThan(20)
    rmSync(ballast)
    for (let left = 100; left > 0 && (await ask(served.url, 'again')).status !== 200; left--) await sleep(50)
    expect((await fetch(`${served.url}/readyz`)).status).toBe(200)
    served.child.kill('SIGTERM')
    expect((await served.ended).code).toBe(0)
    const log = join(folder, 'log')
    const recorded = new Set(readRecords(log).map(({ id }) => id as string))
    expect([...given].filter((id) => !recorded.has(id))).toEqual([])
    const keys = readFileSync(join(log, 'tree/log.vkey'), 'utf8').trim().split('\n').map(parseVerifier)
    expect(verifyLog({ folder: log, keys }).faults).toEqual([])
    execFileSync('umount', [folder])
    mounted.pop()
  },
  120_000,
)
