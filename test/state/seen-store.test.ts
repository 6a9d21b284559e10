// What was seen is kept until it would be refused for its age, whatever the clock on the wall does, and no more of it than may be.
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from '@jest/globals'
import { SeenStore } from '../../src/state/seen-store.ts'
import { tempFolder } from '../support/temp-folder.ts'

const digest = (text: string) => createHash('sha256').update(text).digest()

function open(path = join(tempFolder(), 'db'), maxEntries?: number) {
  const clock = { now: 1_000_000, elapsed: 0 }
  const database = new DatabaseSync(path)
  const store = new SeenStore(database, {
    now: () => clock.now,
    elapsed: () => clock.elapsed,
    ...(maxEntries !== undefined && { maxEntries }),
  })
  return { clock, database, store, path }
}

test('a second time is told, also by the next process', () => {
  const { store, database, path } = open()
  expect([store.take(digest('a'), 2_000_000), store.take(digest('a'), 2_000_000), store.take(digest('b'), 2_000_000)]).toEqual([
    true,
    false,
    true,
  ])
  database.close()
  expect(open(path).store.take(digest('a'), 2_000_000)).toBe(false)
})

test('what is over is forgotten', () => {
  const { store, clock, database } = open()
  store.take(digest('a'), 1_001_000)
  store.take(digest('b'), 1_100_000)
  clock.elapsed = 2_000
  store.take(digest('c'), 1_100_000)
  expect(database.prepare('SELECT count(*) AS n FROM seen').get()).toEqual({ n: 2 })
})

test('a clock that is put forward an hour and back again forgets nothing', () => {
  const { store, clock } = open()
  store.take(digest('a'), 1_060_000)
  clock.now += 3_600_000
  clock.elapsed = 5_000
  store.take(digest('b'), 4_700_000)
  clock.now -= 3_600_000
  expect(store.take(digest('a'), 1_060_000)).toBe(false)
})

test('more than may be kept do not count; room comes with time', () => {
  const { store, clock } = open(undefined, 2)
  store.take(digest('a'), 1_010_000)
  store.take(digest('b'), 1_010_000)
  expect(() => store.take(digest('c'), 1_010_000)).toThrow(expect.objectContaining({ code: 'ERR_OVERLOADED' }))
  clock.elapsed = 10_000
  expect(store.take(digest('c'), 1_020_000)).toBe(true)
})
