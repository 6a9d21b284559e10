// What is made from code must be what the code makes now, and the published schemas must fit what is really sent.
import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { generatedFiles } from '../tools/generate.ts'

test.each(Object.entries(generatedFiles()))('%s is up to date', (path, text) => {
  expect(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).toBe(text)
})
