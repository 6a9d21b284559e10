// The guide of docs/callers.md: every command of it, in one shell, in an empty folder, with certificates that openssl made.
import { expect, test } from '@jest/globals'
import { runGuide } from '../support/guide.ts'

test('docs/callers.md, as it stands', async () => {
  const { code, output, blocks } = await runGuide('callers.md')
  expect(blocks).toBeGreaterThan(3)
  expect([code, output]).toEqual([
    0,
    expect.stringMatching(/active, epoch 1[\s\S]*asked_by[\s\S]*ERR_FORBIDDEN(?:[\s\S]*"decision":true){3}/),
  ])
}, 120_000)
