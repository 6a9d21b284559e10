import { rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { createTokenFile } from '../../src/identity/token-file.ts'
import { tempFolder } from '../support/temp-folder.ts'

const one = 'a'.repeat(32)
const two = 'b'.repeat(32)

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  jest.useRealTimers()
})

test('the token is read again after a change, and a file that is gone changes nothing', () => {
  const path = join(tempFolder({ token: `${one}\n` }), 'token')
  const isToken = createTokenFile(path)
  expect([isToken(one), isToken(two), isToken(''), isToken(one.slice(1))]).toEqual([true, false, false, false])
  writeFileSync(path, two)
  utimesSync(path, new Date(), new Date(Date.now() + 5_000))
  jest.advanceTimersByTime(1_500)
  expect([isToken(one), isToken(two)]).toEqual([false, true])
  rmSync(path)
  jest.advanceTimersByTime(1_500)
  expect(isToken(two)).toBe(true)
  writeFileSync(path, 'short')
  jest.advanceTimersByTime(1_500)
  expect([isToken(two), isToken('short')]).toEqual([true, false])
})

test.each([
  ['missing', '/nonexistent-token'],
  ['too short', join(tempFolder({ token: 'abc' }), 'token')],
])('a token file that is %s is a fault', (_what, path) => {
  expect(() => createTokenFile(path)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }))
})
