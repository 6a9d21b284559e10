// Segments that are kept no longer: removed behind a record that is signed for, and what is left verifies, with every checkpoint of before.
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { leavesName, listSegments, logFiles } from '../../src/audit/log-files.ts'
import { LogWriter } from '../../src/audit/log-writer.ts'
import { retiredLine } from '../../src/audit/own-records.ts'
import { retiredRecordSchema } from '../../src/audit/record-schema.ts'
import type { RetentionRule } from '../../src/audit/retention.ts'
import { noteSigner } from '../../src/audit/tree/note.ts'
import { verifyLog } from '../../src/audit/verify-log.ts'
import { tempFolder } from '../support/temp-folder.ts'

const ours = noteSigner('test', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
const id = (seq: number) => `855ab5e6-0000-4000-8000-${String(seq).padStart(12, '0')}`
const line = (seq: number) => `{"id":"${id(seq)}","seq":${seq},"pad":"${'x'.repeat(90)}"}\n`
const open = (folder: string) => new LogWriter({ folder, maxFileBytes: 1_000, maxFileAgeMs: 60_000, isSynced: true, signers: [ours] })
const everything: RetentionRule = { olderThanMs: Date.now() + 86_400_000, maxBytes: undefined, neededFrom: undefined }
const verify = (folder: string, earlier: Buffer[] = []) =>
  verifyLog({ folder, keys: [ours], earlier: earlier.map((note, i) => ({ name: `kept-${i}`, note })) })
const codes = (folder: string) => verify(folder).faults.map(({ code }) => code)

function made(count = 60) {
  const folder = tempFolder()
  const log = open(folder)
  const notes: Buffer[] = []
  for (let seq = 1; seq <= count; seq += 4) {
    log.write([Buffer.from([0, 1, 2, 3].map((i) => line(seq + i)).join(''))])
    notes.push(Buffer.from(log.checkpoint() as string))
  }
  return { folder, log, notes, seq: count }
}

function retire(log: LogWriter, rule: RetentionRule, seq: number) {
  const expired = log.findExpired(rule)
  if (expired === undefined) return undefined
  log.write([Buffer.from(retiredLine(expired, { shard: '0', seq, timeMs: Date.now() }))])
  log.checkpoint()
  log.removeBefore(expired.before)
  return expired
}

describe('what a rule says', () => {
  const { folder, log } = made()
  const files = listSegments(folder)
  const sizes = files.map((file) => statSync(join(folder, file)).size)
  const none: RetentionRule = { olderThanMs: undefined, maxBytes: undefined, neededFrom: undefined }

  test('the newest segment is kept, and all where nothing is said', () => {
    expect(log.findExpired(none)).toBeUndefined()
    expect(log.findExpired(everything)).toMatchObject({ before: files.at(-1), files: files.length - 1 })
    expect(log.findExpired({ ...none, olderThanMs: Date.now() - 3_600_000 })).toBeUndefined()
  })
  test('so many go that the others fit', () => {
    const kept = sizes.slice(2).reduce((sum, size) => sum + size, 0)
    expect(log.findExpired({ ...none, maxBytes: kept })).toMatchObject({
      before: files[2],
      files: 2,
      bytes: (sizes[0] ?? 0) + (sizes[1] ?? 0),
    })
    expect(log.findExpired({ ...none, maxBytes: kept - 1 })).toMatchObject({ before: files[3], files: 3 })
  })
  test('what a sink has yet to read stays', () => {
    expect(log.findExpired({ ...everything, neededFrom: files[1] })).toMatchObject({ before: files[1], files: 1 })
    expect(log.findExpired({ ...everything, neededFrom: '' })).toBeUndefined()
  })
})

test('what is left verifies, with every checkpoint of before, also behind a second removal and a restart', () => {
  const { folder, log, notes, seq } = made()
  const first = retire(log, { ...everything, olderThanMs: undefined, maxBytes: 3_000 }, seq + 1)
  expect(first?.files).toBeGreaterThan(1)
  expect(verify(folder, notes)).toMatchObject({ faults: [], retired: first?.entries, entries: seq + 1 })
  for (let i = 0; i < 20; i++) log.write([Buffer.from(line(seq + 2 + i))])
  const second = retire(log, everything, seq + 22)
  expect(listSegments(folder)).toHaveLength(1)
  log.close()
  expect(verify(folder, notes)).toMatchObject({ faults: [], retired: second?.entries, entries: seq + 22 })
  const [file] = listSegments(folder) as [string]
  const record = readFileSync(join(folder, file), 'utf8')
    .split('\n')
    .find((one) => one.includes('"retired"')) as string
  expect(retiredRecordSchema.strict().parse(JSON.parse(record))).toMatchObject({ before: file, seq: seq + 22 })

  const again = open(folder)
  expect(again.lastSeq).toBe(seq + 22)
  again.write([Buffer.from(line(seq + 23))])
  again.close()
  expect(verify(folder, notes)).toMatchObject({ faults: [], entries: seq + 23 })
})

test('a removal that a crash broke off is finished at the next start', () => {
  const { folder, log, seq } = made()
  const whole = tempFolder()
  cpSync(folder, whole, { recursive: true })
  const expired = retire(log, everything, seq + 1)
  log.close()
  // As before the files went.
  cpSync(whole, folder, {
    recursive: true,
    filter: (path) => !path.includes('tree') && !(listSegments(folder).at(-1) as string).includes(path.split('/').at(-1) as string),
  })
  expect(listSegments(folder).length).toBe(1 + (expired?.files ?? 0))
  expect(verify(folder).faults).toEqual([])
  open(folder).close()
  expect(listSegments(folder)).toHaveLength(1)
  expect(verify(folder)).toMatchObject({ faults: [], retired: expired?.entries })
})

describe('somebody who removes segments is found', () => {
  const remove = (folder: string, count: number) => {
    for (const file of listSegments(folder).slice(0, count)) rmSync(join(folder, file))
  }
  test('where nothing says so', () => {
    const { folder, log } = made()
    log.close()
    remove(folder, 2)
    expect(codes(folder)).toEqual(['segment_missing'])
    writeFileSync(join(folder, logFiles.keptFrom), `${listSegments(folder)[0]}\n`)
    expect(codes(folder)).toEqual(['segment_missing'])
  })
  test('where more are gone than the log says', () => {
    const { folder, log, seq } = made()
    retire(log, { ...everything, olderThanMs: undefined, maxBytes: 3_000 }, seq + 1)
    log.close()
    remove(folder, 1)
    expect(codes(folder)).toEqual(['segment_missing'])
  })
  test('where what says so is not signed for', () => {
    const { folder, log, seq } = made()
    log.close()
    const files = listSegments(folder)
    remove(folder, 2)
    const said = { before: files[2] as string, entries: 16, files: 2, bytes: 1 }
    appendFileSync(join(folder, files.at(-1) as string), retiredLine(said, { shard: '0', seq: seq + 1, timeMs: 1 }))
    expect(codes(folder)).toEqual(['segment_missing'])
  })
  test('where one in the middle is gone, and where the hashes are', () => {
    const { folder, log, seq } = made()
    retire(log, { ...everything, olderThanMs: undefined, maxBytes: 3_000 }, seq + 1)
    log.close()
    const other = tempFolder()
    cpSync(folder, other, { recursive: true })
    rmSync(join(folder, listSegments(folder)[1] as string))
    expect(codes(folder)).toContain('segment_missing')
    const gone = readFileSync(join(other, logFiles.index), 'utf8')
      .split('\n')
      .map((one) => one && JSON.parse(one).file)[0] as string
    expect(existsSync(join(other, gone))).toBe(false)
    const hashes = readFileSync(join(other, leavesName(gone)))
    writeFileSync(join(other, leavesName(gone)), hashes.subarray(0, -32))
    expect(codes(other)).toContain('segment_missing')
    rmSync(join(other, leavesName(gone)))
    expect(codes(other)).toContain('segment_missing')
  })
  test('and nothing is added to a log that says what cannot be', () => {
    const { folder, log } = made()
    log.close()
    writeFileSync(join(folder, logFiles.keptFrom), 'zzz\n')
    expect(() => open(folder)).toThrow('names no segment')
    expect(listSegments(folder).length).toBeGreaterThan(2)
  })
})
