import { generateKeyPairSync } from 'node:crypto'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { type FileLogOptions, openFileLog } from '../../src/audit/file-log.ts'
import { retiredLine } from '../../src/audit/own-records.ts'
import { parseVerifier } from '../../src/audit/tree/note.ts'
import { verifyLog } from '../../src/audit/verify-log.ts'
import { tempFolder } from '../support/temp-folder.ts'

const key = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const defaults = {
  origin: 'test',
  keys: [key],
  guarantee: 'durable',
  checkpointIntervalMs: 1_000,
  maxFileBytes: 1e6,
  maxFileAgeMs: 60_000,
  flushIntervalMs: 5,
  maxPendingBytes: 1e6,
  onError: () => {},
} as const
const open = (folder: string, options: Partial<FileLogOptions> = {}) => openFileLog({ ...defaults, folder, ...options })
const line = (seq: number, pad = '') => `{"id":"x","seq":${seq},"pad":"${pad}"}\n`
const segments = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.ndjson'))
const lines = (folder: string) =>
  segments(folder)
    .sort()
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').filter(Boolean))
    .map((text) => JSON.parse(text).seq as number)

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(10)
  expect(condition()).toBe(true)
}

describe('the file log', () => {
  test('keeps every line in order, across files that end by size', async () => {
    const folder = tempFolder()
    const log = await open(folder, { maxFileBytes: 10_000 })
    for (let i = 1; i <= 2_000; i++) {
      void log.append(line(log.nextSeq(), 'x'.repeat(50)))
      if (i % 100 === 0) await log.flush()
    }
    await log.close()
    expect(lines(folder)).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1))
    expect(segments(folder).length).toBeGreaterThan(5)
  })

  test.each(['strict', 'durable', 'fast'] as const)(
    'lets go of old segments while it is written without a pause, %s',
    async (guarantee) => {
      const folder = tempFolder()
      const log = await open(folder, { maxFileBytes: 5_000, guarantee, flushIntervalMs: 1 })
      let isOver = false
      const load = (async () => {
        while (!isOver) {
          for (let i = 0; i < 5; i++) void log.append(line(log.nextSeq(), 'x'.repeat(50)))
          await sleep(0)
        }
      })()
      const rule = { olderThanMs: undefined, maxBytes: 20_000, neededFrom: undefined }
      let removed = 0
      for (let i = 0; i < 20 || removed < 10; i++) {
        const expired = await log.retire(rule, (one) => retiredLine(one, { shard: '0', seq: log.nextSeq(), timeMs: Date.now() }))
        removed += expired?.files ?? 0
        await sleep(10)
      }
      isOver = true
      await load
      await log.close()
      expect(segments(folder).length).toBeLessThan(removed)
      const signer = parseVerifier(readFileSync(join(folder, 'tree/log.vkey'), 'utf8').trim())
      const report = verifyLog({ folder, keys: [signer] })
      expect(report.faults).toEqual([])
      expect(report.retired).toBeGreaterThan(0)
      await (await open(folder)).close()
    },
  )

  test('writes without being told, within the interval', async () => {
    const folder = tempFolder()
    const log = await open(folder)
    void log.append(line(log.nextSeq()))
    await until(() => segments(folder).length === 1 && lines(folder).length === 1)
    await log.close()
  })

  test('begins a new file when one is old', async () => {
    const folder = tempFolder()
    const log = await open(folder, { maxFileAgeMs: 1 })
    for (let i = 0; i < 3; i++) {
      void log.append(line(log.nextSeq()))
      await log.flush()
      await sleep(3)
    }
    await log.close()
    expect(segments(folder)).toHaveLength(3)
  })

  test('counts on where an earlier run stopped, also after a torn line', async () => {
    const folder = tempFolder()
    const first = await open(folder)
    void first.append(line(first.nextSeq()))
    void first.append(line(first.nextSeq()))
    await first.close()
    appendFileSync(join(folder, segments(folder)[0] as string), '{"id":"y","seq":3,"to')
    const second = await open(folder)
    expect(second.nextSeq()).toBe(3)
    await second.close()
  })

  test('is not available while it cannot write, says so once, and loses nothing', async () => {
    const folder = join(tempFolder(), 'log')
    let errors = 0
    const log = await open(folder, { onError: () => errors++ })
    rmSync(folder, { recursive: true })
    writeFileSync(folder, 'a file where the folder was')
    void log.append(line(log.nextSeq()))
    await until(() => !log.available)
    void log.append(line(log.nextSeq()))
    await expect(log.flush()).rejects.toMatchObject({ code: 'ERR_LOG_UNAVAILABLE' })
    rmSync(folder)
    mkdirSync(folder)
    await until(() => log.available)
    await log.close()
    expect(lines(folder)).toEqual([1, 2])
    expect(errors).toBe(1)
  })

  test('takes no answer when too much waits', async () => {
    const log = await open(tempFolder(), { maxPendingBytes: 100, flushIntervalMs: 1_000 })
    expect(log.available).toBe(true)
    void log.append(line(log.nextSeq(), 'x'.repeat(200)))
    expect(log.available).toBe(false)
    await log.flush()
    expect(log.available).toBe(true)
    await log.close()
  })

  test('that cannot be opened says why', async () => {
    const parent = tempFolder({ file: 'x' })
    await expect(open(join(parent, 'file', 'log'))).rejects.toMatchObject({ code: 'ERR_STATE_UNUSABLE' })
  })
})
