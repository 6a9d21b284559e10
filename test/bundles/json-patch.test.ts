// JSON Patch over text: RFC 6902's examples, digits that stay, and what is refused.
import { describe, expect, test } from '@jest/globals'
import { applyPatch, type PatchOperation } from '../../src/bundles/json-patch.ts'
import { codeOf } from '../support/code-of.ts'

const patch = (document: string, ...operations: PatchOperation[]) => applyPatch(document, operations)

describe('RFC 6902, appendix A', () => {
  test.each([
    ['A.1', '{"foo":"bar"}', { op: 'add', path: '/baz', value: '"qux"' }, '{"foo":"bar","baz":"qux"}'],
    ['A.2', '{"foo":["bar","baz"]}', { op: 'add', path: '/foo/1', value: '"qux"' }, '{"foo":["bar","qux","baz"]}'],
    ['A.3', '{"baz":"qux","foo":"bar"}', { op: 'remove', path: '/baz' }, '{"foo":"bar"}'],
    ['A.4', '{"foo":["bar","qux","baz"]}', { op: 'remove', path: '/foo/1' }, '{"foo":["bar","baz"]}'],
    ['A.5', '{"baz":"qux","foo":"bar"}', { op: 'replace', path: '/baz', value: '"boo"' }, '{"baz":"boo","foo":"bar"}'],
    [
      'A.6',
      '{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}',
      { op: 'move', from: '/foo/waldo', path: '/qux/thud' },
      '{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}',
    ],
    ['A.7', '{"foo":["all","grass","cows","eat"]}', { op: 'move', from: '/foo/1', path: '/foo/3' }, '{"foo":["all","cows","eat","grass"]}'],
    ['A.8', '{"baz":"qux","foo":["a",2,"c"]}', { op: 'test', path: '/foo/1', value: '2.0' }, '{"baz":"qux","foo":["a",2,"c"]}'],
    ['A.10', '{"foo":"bar"}', { op: 'add', path: '/child', value: '{"grandchild":{}}' }, '{"foo":"bar","child":{"grandchild":{}}}'],
    ['A.14', '{"/":9,"~1":10}', { op: 'test', path: '/~01', value: '10' }, '{"/":9,"~1":10}'],
    ['A.16', '{"foo":["bar"]}', { op: 'add', path: '/foo/-', value: '["abc","def"]' }, '{"foo":["bar",["abc","def"]]}'],
  ] as [string, string, PatchOperation, string][])('%s', (_name, before, operation, after) => expect(patch(before, operation)).toBe(after))
})

test('what is not touched keeps its digits, and copies are copies', () => {
  expect(
    patch('{"a": 1.10, "b": {"c": 12345678901234567890}}', { op: 'copy', from: '/b', path: '/d' }, { op: 'add', path: '/d/e', value: '1' }),
  ).toBe('{"a":1.10,"b":{"c": 12345678901234567890},"d":{"c":12345678901234567890,"e":1}}')
})

describe('refused', () => {
  test.each([
    { op: 'remove', path: '/none' },
    { op: 'replace', path: '/none', value: '1' },
    { op: 'add', path: '/none/a', value: '1' },
    { op: 'add', path: '/list/2', value: '1' },
    { op: 'add', path: '/list/01', value: '1' },
    { op: 'replace', path: '/list/-', value: '1' },
    { op: 'add', path: '/text/a', value: '1' },
    { op: 'test', path: '/text', value: '"other"' },
    { op: 'move', from: '/object', path: '/object/a' },
    { op: 'move', from: '/objects/0', path: '/objects/0/a' },
    { op: 'copy', from: '/none', path: '/a' },
    { op: 'add', path: 'a', value: '1' },
    { op: 'add', path: '/a~2', value: '1' },
    { op: 'add', path: '/a' },
    { op: 'replace', path: '', value: '[]' },
    { op: 'remove', path: '' },
  ] as PatchOperation[])('%j', (operation) => {
    expect(codeOf(() => patch('{"list":[1],"text":"x","object":{},"objects":[{},{}]}', operation))).toBe('ERR_BUNDLE_DATA')
  })
})
