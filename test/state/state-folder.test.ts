import { statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
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

const checked = { isRejected: false, neededApprovals: 0, neededSigners: 0, report: '{}', summary: 'passed' }
const revision = (digest: string) => ({ name: 'main', digest, revision: '', origin: 'push', actor: 'ann', bytes: 1 })

async function add(state: StateFolder, digest: string): Promise<void> {
  await state.bundles.keepArchive(digest, Buffer.from(digest))
  state.bundles.addRevision(revision(digest))
  await state.bundles.sync()
}

test('epochs count up with every other archive, and survive a restart', async () => {
  const path = tempFolder()
  let state = new StateFolder(path)
  for (const digest of ['sha256:a', 'sha256:b']) await add(state, digest)
  expect(state.bundles.recordActivation('main', 'sha256:a')).toBe(1)
  expect(state.bundles.recordActivation('other', 'sha256:a')).toBe(1)
  expect(state.bundles.recordActivation('main', 'sha256:b')).toBe(2)
  state.close()
  state = new StateFolder(path)
  expect(state.bundles.recordActivation('main', 'sha256:b')).toBe(2)
  expect(state.bundles.previous('main')).toBe('sha256:a')
  expect(state.bundles.recordActivation('main', 'sha256:a')).toBe(3)
  expect(state.bundles.activeBundles()).toEqual([
    expect.objectContaining({ name: 'main', digest: 'sha256:a', epoch: 3 }),
    expect.objectContaining({ name: 'other', digest: 'sha256:a', epoch: 1 }),
  ])
  expect(state.bundles.readArchive('sha256:b').toString()).toBe('sha256:b')
  expect(() => state.bundles.readArchive('sha256:c')).toThrow(expect.objectContaining({ code: 'ERR_STATE_UNUSABLE' }))
  state.close()
})

test('a check that was cut off is told as that; archives that nothing knows are dropped', async () => {
  const path = tempFolder()
  let state = new StateFolder(path)
  await add(state, 'sha256:a')
  await state.bundles.keepArchive('sha256:b', Buffer.from('b'))
  state.close()
  state = new StateFolder(path)
  expect(state.bundles.getRevision('main', 'sha256:a').status).toBe('interrupted')
  expect(() => state.bundles.readArchive('sha256:b')).toThrow(expect.objectContaining({ code: 'ERR_STATE_UNUSABLE' }))
  expect(state.bundles.acts(0, 10).map(({ seq, act }) => [seq, act])).toEqual([
    [1, 'pushed'],
    [2, 'interrupted'],
  ])
  state.close()
})

test('acts are neither changed nor removed, and what fails leaves none', async () => {
  const path = tempFolder()
  const state = new StateFolder(path)
  await add(state, 'sha256:a')
  state.bundles.setChecked('main', 'sha256:a', { ...checked, neededApprovals: 1 })
  expect(() => state.bundles.approve('main', 'sha256:a', 'ann')).toThrow(expect.objectContaining({ code: 'ERR_FORBIDDEN' }))
  expect(state.bundles.approve('main', 'sha256:a', 'bob').status).toBe('ready')
  expect(() => state.bundles.approve('main', 'sha256:a', 'eve')).toThrow(expect.objectContaining({ code: 'ERR_CONFLICT' }))
  expect(state.bundles.acts(0, 10).map(({ seq, act, actor }) => [seq, act, actor])).toEqual([
    [1, 'pushed', 'ann'],
    [2, 'checked', 'service'],
    [3, 'approved', 'bob'],
  ])
  state.close()
  const database = new DatabaseSync(join(path, 'state.db'))
  expect(() => database.exec("UPDATE act SET actor = 'eve'")).toThrow('not changed')
  expect(() => database.exec('DELETE FROM act')).toThrow('not removed')
  database.close()
})

test('old revisions are removed, never what is active or the way back', async () => {
  const state = new StateFolder(tempFolder())
  for (const digest of ['sha256:a', 'sha256:b', 'sha256:c', 'sha256:d']) {
    await add(state, digest)
    state.bundles.setChecked('main', digest, checked)
  }
  state.bundles.recordActivation('main', 'sha256:a')
  state.bundles.recordActivation('main', 'sha256:b')
  expect(state.bundles.collect(1, Number.POSITIVE_INFINITY, 'ann').map(({ digest }) => digest)).toEqual(['sha256:c'])
  expect(state.bundles.listRevisions('main').map(({ digest }) => digest)).toEqual(['sha256:d', 'sha256:b', 'sha256:a'])
  expect(() => state.bundles.readArchive('sha256:c')).toThrow()
  expect(state.bundles.readArchive('sha256:a').toString()).toBe('sha256:a')
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
