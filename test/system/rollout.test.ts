// The tutorial of docs/rollout.md: every command of it, in one shell, in an empty folder.
import { expect, test } from '@jest/globals'
import { runGuide } from '../support/guide.ts'

test('docs/rollout.md, as it stands', async () => {
  const { code, output, blocks } = await runGuide('rollout.md')
  expect(blocks).toBeGreaterThan(3)
  expect([code, output]).toEqual([
    0,
    expect.stringMatching(/held: 1 approval missing[\s\S]*active, epoch 1[\s\S]*active, epoch 2[\s\S]*bob rolled_back main \w+ epoch 3/),
  ])
}, 120_000)
