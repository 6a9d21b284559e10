// A decision log that somebody changed: each way is found, and told where; nothing is added to what was changed. And one that a crash cut.
import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, cpSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { leavesName, listSegments, logFiles, readSegments } from '../../src/audit/log-files.ts'
import { LogWriter, type LogWriterOptions } from '../../src/audit/log-writer.ts'
import { emptyRoot, leafHash, verifyInclusion } from '../../src/audit/tree/merkle.ts'
import {
  checkpointText,
  type NoteSigner,
  noteSigner,
  parseCheckpoint,
  parseNote,
  parseVerifier,
  signNote,
} from '../../src/audit/tree/note.ts'
import { verifyLog } from '../../src/audit/verify-log.ts'
import { tempFolder } from '../support/temp-folder.ts'

const signer = (name = 'test') =>
  noteSigner(name, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
const ours = signer()
const id = (seq: number) => `855ab5e6-0000-4000-8000-${String(seq).padStart(12, '0')}`
const line = (seq: number) => `{"id":"${id(seq)}","seq":${seq},"decision":${seq % 2 === 0},"pad":"${'x'.repeat(seq % 90)}"}\n`
const lines = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join('')

const open = (folder: string, options: Partial<LogWriterOptions> = {}) =>
  new LogWriter({ folder, maxFileBytes: 2_000, maxFileAgeMs: 60_000, isSynced: true, signers: [ours], ...options })
const write = (log: LogWriter, from: number, to: number) => log.write([Buffer.from(lines(from, to))])
const verify = (folder: string, more: { earlier?: Buffer[]; keys?: NoteSigner[]; record?: string } = {}) =>
  verifyLog({
    folder,
    keys: more.keys ?? [ours],
    earlier: (more.earlier ?? []).map((note, i) => ({ name: `kept-${i}`, note })),
    record: more.record,
  })

/** A log of 100 entries in several segments, with the checkpoints of 40 and of all. */
const made = tempFolder()
let at40: Buffer
let at100: Buffer
beforeAll(() => {
  const log = open(made)
  for (let i = 1; i <= 40; i += 5) write(log, i, i + 4)
  at40 = Buffer.from(log.checkpoint() as string)
  for (let i = 41; i <= 100; i += 5) write(log, i, i + 4)
  log.close()
  at100 = readFileSync(join(made, logFiles.checkpoint))
})

const copy = () => {
  const folder = tempFolder()
  cpSync(made, folder, { recursive: true })
  return folder
}
const pathOf = (folder: string, segment: number) => join(folder, listSegments(folder)[segment] as string)
const edit = (path: string, change: (text: string) => string) => writeFileSync(path, change(readFileSync(path, 'utf8')))
const codes = (folder: string, more: Parameters<typeof verify>[1] = {}) => verify(folder, more).faults.map(({ code }) => code)

test('what was written is found to be so, by each checkpoint, and each record has its place', () => {
  const report = verify(made, { earlier: [at40, at100] })
  expect(report).toMatchObject({ entries: 100, unsigned: 0, faults: [], checkpoint: { size: 100, signers: [`test+${ours.id}`] } })
  expect(report.segments).toBeGreaterThan(3)
  for (const seq of [1, 40, 41, 100]) {
    const { inclusion } = verify(made, { record: id(seq) })
    const decode = (text: string) => Buffer.from(text, 'base64').toString('latin1')
    const { size, root } = parseCheckpoint(parseNote(at100).text)
    expect(inclusion?.entry).toBe(seq - 1)
    expect(decode(inclusion?.leaf ?? '')).toBe(leafHash(Buffer.from(line(seq).trimEnd())))
    expect(verifyInclusion(seq - 1, size, decode(inclusion?.leaf ?? ''), (inclusion?.proof ?? []).map(decode), root)).toBe(true)
  }
  expect(() => verify(made, { record: id(101) })).toThrow('no record has the ID')
})

describe('what was changed is found, and where', () => {
  const hasLine = (folder: string, seq: number) => {
    for (const [i, file] of listSegments(folder).entries()) {
      const at = readFileSync(join(folder, file), 'utf8').split('\n').indexOf(line(seq).trimEnd())
      if (at >= 0) return { segment: i, file, line: at + 1 }
    }
    throw new Error('no such line')
  }
  const change = (seq: number, edited: (text: string) => string) => (folder: string) => {
    const { segment } = hasLine(folder, seq)
    edit(pathOf(folder, segment), (text) => text.replace(line(seq), edited(line(seq))))
  }

  test.each<[string, (folder: string) => void, number]>([
    ['a bit', change(33, (text) => text.replace('"decision":false', '"decision":fclse')), 33],
    ['a decision, of the same length', change(50, (text) => text.replace('855ab5e6', '855ab5e7')), 50],
    ['a line that is gone', change(17, () => ''), 17],
    ['a line that was added', change(17, (text) => text + text), 18],
    [
      'two lines in another order',
      (folder) => edit(pathOf(folder, hasLine(made, 64).segment), (text) => text.replace(lines(64, 65), line(65) + line(64))),
      64,
    ],
    ['the last line', change(100, (text) => text.replace('x', 'y')), 100],
  ])('%s', (_what, tamper, seq) => {
    const place = hasLine(made, seq)
    const folder = copy()
    tamper(folder)
    const { faults } = verify(folder)
    expect(faults[0]).toMatchObject({ code: 'changed', entry: seq - 1, file: place.file, line: place.line })
    expect(faults.some(({ code, message }) => code === 'root' || message.includes('the checkpoint is of'))).toBe(true)
    expect(() => open(folder)).toThrow('nothing is added to a decision log that was changed')
  })

  test('lines that are cut off, in the last segment and in another', () => {
    const last = copy()
    const file = pathOf(last, listSegments(last).length - 1)
    const text = readFileSync(file, 'utf8')
    truncateSync(file, text.lastIndexOf('\n', text.length - 2) + 1)
    expect(verify(last).faults[0]).toMatchObject({ code: 'missing', entry: 99 })
    expect(codes(last)).toEqual(['missing', 'missing'])
    expect(() => open(last)).toThrow('its checkpoint is of 100 entries')
    const other = copy()
    truncateSync(pathOf(other, 1), 500)
    expect(codes(other)[0]).toMatch(/missing|added/)
    expect(() => open(other)).toThrow('has 500 bytes')
  })

  test('a segment that is gone, and one that nobody wrote', () => {
    const folder = copy()
    const [, second] = readSegments(folder).segments
    rmSync(pathOf(folder, 1))
    expect(verify(folder).faults[0]).toMatchObject({ code: 'segment_missing', entry: second?.first, file: second?.file })
    expect(() => open(folder)).toThrow('is not there')
    const more = copy()
    writeFileSync(join(more, 'decisions-20990101T000000.000Z-000009.ndjson'), line(101))
    expect(codes(more)).toEqual(['added'])
  })

  test('with the hashes of its entries, too: by the tree, and between which checkpoints', () => {
    const folder = copy()
    change(33, (text) => text.replace('"pad":"x', '"pad":"y'))(folder)
    const { segment, file } = hasLine(made, 33)
    const path = join(folder, leavesName(file))
    const leaves = readFileSync(path)
    const at = readFileSync(pathOf(folder, segment), 'utf8')
      .split('\n')
      .findIndex((one) => one.includes(`"seq":33,`))
    leaves.write(leafHash(Buffer.from(line(33).trimEnd().replace('"pad":"x', '"pad":"y'))), at * 32, 'latin1')
    writeFileSync(path, leaves)
    const { faults } = verify(folder)
    expect(faults.map(({ code }) => code)).toEqual(['index', 'root'])
    const { first } = readSegments(folder).segments[segment] as { first: number }
    expect(faults[1]?.entry).toBe(first)
    expect(() => open(folder)).toThrow('does not begin where the one before ends')
  })

  test('an index, a checkpoint, or their being gone', () => {
    const index = copy()
    edit(join(index, logFiles.index), (text) => text.replace('"first":0', '"first":1'))
    expect(codes(index)).toContain('index')
    expect(() => open(index)).toThrow('nothing is added')
    const unsigned = copy()
    edit(join(unsigned, logFiles.checkpoint), (text) => text.replace('\n100\n', '\n99\n'))
    expect(codes(unsigned)[0]).toBe('signature')
    expect(() => open(unsigned)).toThrow('not to be believed')
    const none = copy()
    rmSync(join(none, logFiles.checkpoint))
    expect(codes(none)).toEqual(['signature'])
    const noIndex = copy()
    rmSync(join(noIndex, logFiles.index))
    expect(codes(noIndex)).toContain('missing')
    expect(() => open(noIndex)).toThrow('there is a checkpoint and no')
    expect(() => verify(tempFolder())).toThrow('holds no decision log')
  })
})

describe('by someone who has the key, it is found with an earlier checkpoint', () => {
  const rewritten = (to: number, change = (text: string) => text) => {
    const folder = tempFolder()
    const log = open(folder)
    log.write([Buffer.from(change(lines(1, to)))])
    log.close()
    return folder
  }

  test('rolled back, rewritten, forked', () => {
    const back = rewritten(30)
    expect(codes(back)).toEqual([])
    expect(codes(back, { earlier: [at40] })).toEqual(['rolled_back'])
    const other = rewritten(100, (text) => text.replace(line(20), line(20).replace('"decision":true', '"decision":false')))
    expect(codes(other)).toEqual([])
    expect(codes(other, { earlier: [at40] })).toEqual(['rewritten'])
    // Both are right until the fork.
    const fork = rewritten(100, (text) => text.replace(line(70), line(70).replace('"decision":true', '"decision":false')))
    expect(codes(fork, { earlier: [at40] })).toEqual([])
    expect(codes(fork, { earlier: [at40, at100] })).toEqual(['rewritten'])
  })

  test('its own checkpoint rolled back, or gone, though every entry is there', () => {
    const folder = tempFolder()
    cpSync(made, folder, { recursive: true })
    writeFileSync(join(folder, logFiles.checkpoint), at40)
    expect(codes(folder)).toEqual([])
    expect(codes(folder, { earlier: [at40] })).toEqual([])
    const { faults } = verify(folder, { earlier: [at40, at100] })
    expect(faults).toMatchObject([{ code: 'rolled_back', entry: 40, message: expect.stringContaining('own checkpoint of 40') }])
    rmSync(join(folder, logFiles.checkpoint))
    expect(codes(folder, { earlier: [at40] })).toEqual(['rolled_back'])
  })

  test('a checkpoint of another key, or of another log, is none', () => {
    expect(() => verify(made, { earlier: [Buffer.from(signNote('test\n1\n', [signer()]))] })).toThrow('no key that is known')
    expect(codes(made, { keys: [signer()] })).toContain('signature')
  })
})

describe('a run that goes on', () => {
  test('goes on where the one before was, whatever a crash left of a line, of the index, of the hashes', () => {
    const folder = copy()
    const last = pathOf(folder, listSegments(folder).length - 1)
    appendFileSync(last, line(101) + line(102).slice(0, 30))
    appendFileSync(join(folder, logFiles.index), '{"file":"deci')
    const log = open(folder)
    expect([log.size, log.lastSeq, log.recovered]).toEqual([101, 101, { file: last.slice(folder.length + 1), bytes: 30 }])
    write(log, 102, 150)
    log.close()
    expect(verify(folder, { earlier: [at40, at100] })).toMatchObject({ entries: 150, faults: [] })
    const hashes = statSync(join(folder, leavesName(last.slice(folder.length + 1))))
    expect(hashes.size % 32).toBe(0)
  })

  test('has a key more, and later one less', () => {
    const folder = copy()
    const next = signer()
    const both = open(folder, { signers: [ours, next] })
    write(both, 101, 110)
    both.close()
    expect(codes(folder, { keys: [next] })).toEqual([])
    expect(codes(folder, { keys: [ours] })).toEqual([])
    const log = open(folder, { signers: [next] })
    write(log, 111, 120)
    log.close()
    expect(verify(folder, { keys: [next, ours], earlier: [at40] })).toMatchObject({ entries: 120, faults: [] })
    expect(() => open(folder, { signers: [ours] })).toThrow('no key that is known')
    const texts = readFileSync(join(folder, logFiles.verifiers), 'utf8').trim().split('\n')
    expect(texts.map((text) => parseVerifier(text).id)).toEqual([next.id])
  })

  test('does not begin with what is of another log', () => {
    const folder = copy()
    expect(() =>
      open(folder, {
        signers: [noteSigner('other', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)],
      }),
    ).toThrow('not to be believed')
  })

  test('publishes nothing twice, and nothing of what failed', () => {
    const folder = tempFolder()
    const log = open(folder)
    write(log, 1, 10)
    const note = log.checkpoint() as string
    expect(parseNote(Buffer.from(note)).text).toContain('test\n10\n')
    expect(log.checkpoint()).toBeUndefined()
    // The folder is gone from under it, so that the next segment cannot be made.
    renameSync(folder, `${folder}-away`)
    const before = log.size
    expect(() => write(log, 11, 200)).not.toThrow()
    expect(() => write(log, 201, 210)).toThrow('ENOENT')
    expect(log.size).toBe(before + 190)
    renameSync(`${folder}-away`, folder)
    write(log, 201, 210)
    log.close()
    expect(verify(folder)).toMatchObject({ entries: 210, faults: [] })
  })

  test('an empty log has the root of nothing', () => {
    const folder = tempFolder()
    open(folder).close()
    expect(() => verify(folder)).toThrow('holds no decision log')
    writeFileSync(join(folder, logFiles.checkpoint), signNote(checkpointText({ origin: 'test', size: 0, root: emptyRoot }), [ours]))
    expect(codes(folder)).toEqual([])
  })
})
