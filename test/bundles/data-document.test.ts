import { expect, test } from '@jest/globals'
import { mergeData } from '../../src/bundles/data-document.ts'

const merge = (files: Record<string, string>) => mergeData(new Map(Object.entries(files)))

test.each([
  ['nothing', {}, '{}'],
  ['one file', { 'data.json': '{"a":1.0}' }, '{"a":1.0}'],
  ['a file in a folder', { 'a/b/data.json': '{"c":-0}' }, '{"a":{"b":{"c":-0}}}'],
  ['two files', { 'a/data.json': '{"x":1}', 'b/data.json': '{"y":12345678901234567890}' }, '{"a":{"x":1},"b":{"y":12345678901234567890}}'],
  ['a file inside of what another gives', { 'data.json': '{"a":{"x":1}}', 'a/data.json': '{"y":2}' }, '{"a":{"y":2,"x":1}}'],
  ['objects that meet deeper', { 'data.json': '{"a":{"b":{"x":1}}}', 'a/data.json': '{"b":{"y":2}}' }, '{"a":{"b":{"y":2,"x":1}}}'],
])('%s', (_what, files, expected) => expect(merge(files as Record<string, string>)).toBe(expected))

test.each([
  ['an array', { 'data.json': '[]' }],
  ['text', { 'data.json': 'x' }],
  ['a key twice', { 'data.json': '{"a":1,"a":2}' }],
  ['the same key from two files', { 'data.json': '{"a":{"x":1}}', 'a/data.json': '{"x":2}' }],
  ['a value where another file has a folder', { 'data.json': '{"a":1}', 'a/data.json': '{"x":2}' }],
])('refuses %s', (_what, files) => {
  expect(() => merge(files as Record<string, string>)).toThrow(expect.objectContaining({ code: 'ERR_BUNDLE_DATA' }))
})
