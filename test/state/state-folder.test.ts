import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { StateFolder } from '../../src/state/state-folder.ts'
import { tempFolder } from '../support/temp-folder.ts'

test('a second service is refused while the first one runs, and let in afterwards', () => {
  const path = tempFolder()
  const first = new StateFolder(path)
  expect(() => new StateFolder(path)).toThrow(
    expect.objectContaining({ code: 'ERR_STATE_LOCKED', message: expect.stringContaining('--state') }),
  )
  first.close()
  new StateFolder(path).close()
})

test('epochs count up with every other archive, and survive a restart', () => {
  const path = tempFolder()
  let state = new StateFolder(path)
  const [a, b] = [Buffer.from('a'), Buffer.from('b')]
  expect(state.recordActivation('main', 'sha256:a', a)).toBe(1)
  expect(state.recordActivation('other', 'sha256:a', a)).toBe(1)
  expect(state.recordActivation('main', 'sha256:b', b)).toBe(2)
  state.close()
  state = new StateFolder(path)
  expect(state.recordActivation('main', 'sha256:b', b)).toBe(2)
  expect(state.recordActivation('main', 'sha256:a', a)).toBe(3)
  expect(state.activeBundles()).toEqual([
    expect.objectContaining({ name: 'main', digest: 'sha256:a', epoch: 3 }),
    expect.objectContaining({ name: 'other', digest: 'sha256:a', epoch: 1 }),
  ])
  expect(state.readArchive('sha256:b').toString()).toBe('b')
  expect(() => state.readArchive('sha256:c')).toThrow(expect.objectContaining({ code: 'ERR_STATE_UNUSABLE' }))
  state.close()
})

test('the admin token is made once, for its owner only', () => {
  const path = tempFolder()
  const state = new StateFolder(path)
  const token = state.adminToken()
  expect(token).toMatch(/^[\w-]{43}$/)
  expect(state.adminToken()).toBe(token)
  expect(statSync(join(path, 'admin.token')).mode & 0o777).toBe(0o600)
  state.close()
})

test('a folder that cannot be made is named', () => {
  const file = join(tempFolder({ x: '' }), 'x')
  expect(() => new StateFolder(file)).toThrow(
    expect.objectContaining({ code: 'ERR_STATE_UNUSABLE', message: expect.stringContaining(file) }),
  )
})
