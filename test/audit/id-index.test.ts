// The index of a segment's IDs: what it says may be skipped holds nothing that is looked for, whatever the lines have; and a query finds with it
// what it finds without.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { idsName, indexSegment, rangesWith } from '../../src/audit/id-index.ts'
import { listSegments, segmentName } from '../../src/audit/log-files.ts'
import { type LogFilter, type LogRecord, matches, queryLog } from '../../src/audit/query-log.ts'
import { tempFolder } from '../support/temp-folder.ts'

/** Numbers that are the same each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const strange = ['alice', 'a"b', 'back\\slash', 'é', '𝒳', 'line\nbreak', '\u0001', 'user:alice', 'a:b:c', 'x/y', '', 'ﬀ', 'tab\t']
/** As somebody may write it who writes JSON by hand. */
const written = (value: string, how: number) => {
  const text = JSON.stringify(value)
  if (how === 0) return text.replaceAll('/', '\\/')
  if (how !== 1 || value === '') return text
  return `"\\u${value.charCodeAt(0).toString(16).padStart(4, '0')}${JSON.stringify(value.slice(1)).slice(1)}`
}

function logOf(segments: readonly (readonly string[])[]) {
  const folder = tempFolder()
  for (const [i, lines] of segments.entries())
    writeFileSync(join(folder, segmentName(1_700_000_000_000 + i * 1_000, i + 1)), lines.map((line) => `${line}\n`).join(''))
  return folder
}

const pad = (length: number) => 'x'.repeat(length)
const line = (random: (below: number) => number, id: string) => {
  const pick = () => written(random(3) === 0 ? `u${random(5_000)}` : (strange[random(strange.length)] as string), random(40))
  const [subject, resource, caller, reason] = [pick(), pick(), pick(), pick()]
  return `{"id":"${id}","seq":1,"time":"2026-01-01T00:00:00.000Z","caller":{"id":${caller}},"subject":{"type":"user","id":${subject}},"action":{"name":"read"},"resource":{"type":"doc","id":${resource}},"outcome":"${random(2) === 0 ? 'allow' : 'deny'}","reasons":[${reason}],"pad":"${pad(random(900))}"}`
}

describe('a query', () => {
  const random = numbers(7)
  const segments = Array.from({ length: 3 }, (_, s) => Array.from({ length: 1_200 }, (_, i) => line(random, `${s}-${i}`)))
  const folder = logOf(segments)
  const all = segments.flat().map((text) => JSON.parse(text) as LogRecord & { id: string })
  const filters: LogFilter[] = [
    ...strange.flatMap((value) => [
      { subject: value },
      { resource: value },
      { caller: value },
      { reason: value },
      { subject: `user:${value}` },
    ]),
    ...Array.from({ length: 20 }, () => ({ subject: `u${random(5_000)}`, outcome: 'deny' as const })),
    ...Array.from({ length: 10 }, () => ({ id: `${random(3)}-${random(1_200)}` })),
    { subject: 'alice', resource: 'x/y', caller: 'é' },
    { subject: 'nobody' },
    { action: 'read', outcome: 'allow' },
    {},
  ]

  test.each([
    ['without an index', 0],
    ['with one for some segments', 1],
    ['with one for all that are whole', 2],
  ])('finds what is there, and all of it, %s', (_what, count) => {
    for (const file of listSegments(folder).slice(0, count)) indexSegment(folder, file)
    expect(listSegments(folder).filter((file) => existsSync(join(folder, idsName(file))))).toHaveLength(count)
    for (const filter of filters) {
      const expected = all.filter((record) => matches(record, filter)).map(({ id }) => id)
      const found = [...queryLog(folder, filter)].map(({ record }) => record.id).reverse()
      expect([filter, found]).toEqual([filter, expected])
    }
  })
})

describe('the index', () => {
  const random = numbers(11)
  const lines = Array.from(
    { length: 12_000 },
    (_, i) => `{"id":"${i}","subject":{"type":"user", "id" : "u${i}"},"pad":"${pad(random(900))}"}`,
  )
  const folder = logOf([lines])
  const [file] = listSegments(folder) as [string]
  const { size } = statSync(join(folder, file))
  indexSegment(folder, file)
  const ranges = (ids: string[][], of = file, at = folder) => rangesWith(at, of, ids) ?? []
  const lengthOf = (ids: string[][]) => ranges(ids).reduce((sum, [from, to]) => sum + to - from, 0)

  test('says where a text may be, and skips nearly everything else', () => {
    let read = 0
    for (let i = 0; i < 50; i++) {
      const wanted = `u${random(12_000)}`
      const at = readFileSync(join(folder, file)).indexOf(`"${wanted}"`)
      expect(ranges([[wanted]]).some(([from, to]) => from <= at && at < to)).toBe(true)
      read += lengthOf([[wanted]])
    }
    expect(read / 50).toBeLessThan(size / 3)
    expect(lengthOf([['nobody', 'nothing']])).toBeLessThan(size / 2)
    // Both are there, and far from each other.
    expect(lengthOf([['u1'], ['u11999']])).toBeLessThan(size / 2)
    expect(lengthOf([['nobody', 'u1']])).toBeGreaterThan(0)
    expect(statSync(join(folder, idsName(file))).size).toBeLessThan(size / 50)
  })

  test('skips nothing where an ID may be written in another way', () => {
    const escaped = logOf([['{"id":"1","subject":{"id":"\\u0061nn"}}', '{"id":"2","subject":{"id":"x\\/y"}}'], []])
    indexSegment(escaped, listSegments(escaped)[0] as string)
    for (const subject of ['ann', 'x/y']) expect([...queryLog(escaped, { subject })]).toHaveLength(1)
  })

  test('begins and ends ranges with lines', () => {
    const bytes = readFileSync(join(folder, file))
    for (const [from, to] of ranges([['u1', 'u3000', 'u9000']])) {
      expect(from === 0 || bytes[from - 1] === 0x0a).toBe(true)
      expect(bytes[to - 1]).toBe(0x0a)
    }
  })

  test.each<[string, (path: string) => void]>([
    ['is cut', (path) => writeFileSync(path, readFileSync(path).subarray(0, -100))],
    ['is empty', (path) => writeFileSync(path, '')],
    ['is no index', (path) => writeFileSync(path, 'null\n')],
    ['is of another version', (path) => writeFileSync(path, readFileSync(path, 'latin1').replace('"version":1', '"version":2'), 'latin1')],
  ])('that %s is made again', (_how, change) => {
    const path = join(folder, idsName(file))
    const before = lengthOf([['u77']])
    const content = readFileSync(path)
    change(path)
    expect(rangesWith(folder, file, [['u77']])).toBeUndefined()
    expect([indexSegment(folder, file), indexSegment(folder, file)]).toEqual([true, false])
    expect(lengthOf([['u77']])).toBe(before)
    expect(readFileSync(path).equals(content)).toBe(true)
  })

  test('of a segment that has grown is made again', () => {
    writeFileSync(join(folder, file), `{"id":"late","subject":{"id":"newcomer"}}\n`, { flag: 'a' })
    expect(rangesWith(folder, file, [['newcomer']])).toBeUndefined()
    indexSegment(folder, file)
    expect(lengthOf([['newcomer']])).toBeGreaterThan(0)
  })

  test('knows lines that are longer than its parts, and a segment without lines', () => {
    const long = logOf([['{"id":"first"}', `{"pad":"${pad(3_000_000)}","id":"second"}`, '{"id":"third"}'], []])
    const [one, none] = listSegments(long) as [string, string]
    for (const file of [one, none]) indexSegment(long, file)
    for (const id of ['first', 'second', 'third']) expect(ranges([[id]], one, long)).not.toEqual([])
    expect(ranges([['first']], none, long)).toEqual([])
  })
})
