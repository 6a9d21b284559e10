// Patterns on their own automaton: the answers of OPA's functions for random patterns and texts, in linear time.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { PatternMatcher, type PatternProgram } from '../../src/policy/pattern-matcher.ts'
import type { ReactorHost } from '../../src/rego/reactor-host.ts'
import type { EvalResult } from '../../src/rego/toolchain.ts'
import { builtinHost, startPolicy, toolchain } from '../support/toolchain.ts'

let host: ReactorHost
beforeAll(async () => {
  host = await builtinHost()
})

let programs = 0
afterAll(() => expect(programs).toBeGreaterThan(1_000))

const value = (json: unknown) => Buffer.from(JSON.stringify(json))

/** OPA's own answer; undefined: an error. */
function opa(name: string, args: readonly unknown[]): boolean | undefined {
  host.begin(0n)
  const answer = Buffer.from(host.call(name, args.map(value))).toString()
  return answer === 'Vtrue' ? true : answer === 'Vfalse' ? false : undefined
}

function matcherOf(pattern: string, delimiters?: string): PatternMatcher | undefined {
  const program = host.pattern(pattern, delimiters)
  if (program === undefined) return undefined
  programs++
  return new PatternMatcher(JSON.parse(program) as PatternProgram)
}

function run(matcher: PatternMatcher, text: string): boolean | undefined {
  const bytes = Buffer.from(`«${text}»`)
  return matcher.test(bytes, 2, bytes.length - 2)
}

const letters = fc.constantFrom('a', 'b', 'A', 'k', 'K', '\u212a', '0', '_', '-', '.', '/', ' ', '\n', 'é', 'ß', '日', '\u{1F600}', 'x')
const texts = fc.array(letters, { maxLength: 12 }).map((parts) => parts.join(''))
const atoms = fc.constantFrom(
  ...[
    'a',
    'b',
    'k',
    'x',
    '\\.',
    '/',
    '.',
    '[ab]',
    '[^a]',
    '[a-z]',
    '[^a-zé]',
    '\\d',
    '\\D',
    '\\w',
    '\\W',
    '\\s',
    '[[:alpha:]]',
    '\\pL',
    '\\PL',
  ],
  ...[
    'é',
    '日',
    '\u{1F600}',
    '\\x{212a}',
    '^',
    '$',
    '\\A',
    '\\z',
    '\\b',
    '\\B',
    '(?i:k)',
    '(?i:ß)',
    '(?s:.)',
    '(?m:^)',
    '(?m:$)',
    '[^\\n]',
    '',
  ],
)
const { regex } = fc.letrec<{ regex: string }>((tie) => ({
  regex: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    atoms,
    fc.tuple(tie('regex'), tie('regex')).map(([a, b]) => `${a}${b}`),
    fc.tuple(tie('regex'), tie('regex')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('regex'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '*?', '+?', '{0,2}?')).map(([a, n]) => `(${a})${n}`),
  ),
}))
const globAtoms = fc.constantFrom(
  'a',
  'b',
  'é',
  '.',
  '/',
  '-',
  '*',
  '**',
  '?',
  '[ab]',
  '[!ab]',
  '[a-k]',
  '[!a-k]',
  '\\*',
  '日',
  '\u{1F600}',
  '[^a]',
  ' ',
)
const { glob } = fc.letrec<{ glob: string }>((tie) => ({
  glob: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    globAtoms,
    fc.tuple(tie('glob'), tie('glob')).map(([a, b]) => `${a}${b}`),
    fc.tuple(tie('glob'), tie('glob')).map(([a, b]) => `{${a},${b}}`),
    fc.constantFrom('{a', 'b}', '[', '{}', '{,a}', '\\', '[]', '[b-a]'),
  ),
}))

describe('the automaton answers as OPA', () => {
  test('for 10,000 regular expressions and texts', () => {
    fc.assert(
      fc.property(regex, fc.array(texts, { minLength: 4, maxLength: 4 }), (pattern, some) => {
        const matcher = matcherOf(pattern)
        // Classes of Unicode, repeated, make programs that are too large.
        if (matcher === undefined && /\\p/i.test(pattern)) return
        for (const text of some) {
          const expected = opa('regex.match', [pattern, text])
          if (matcher === undefined) expect(expected).toBeUndefined()
          else expect(run(matcher, text)).toBe(expected)
        }
      }),
      { numRuns: 2_500 },
    )
  })

  test('for 10,000 globs and texts', () => {
    const delimiters = fc.constantFrom([], ['.'], ['/'], ['/', '.'], ['é', '-'], ['\u{1F600}'], ['a'])
    fc.assert(
      fc.property(glob, delimiters, fc.array(texts, { minLength: 4, maxLength: 4 }), (pattern, separators, some) => {
        const matcher = matcherOf(pattern, separators.length === 0 ? '.' : separators.join(''))
        for (const text of some) {
          const expected = opa('glob.match', [pattern, separators, text])
          if (matcher === undefined) expect(expected).toBeUndefined()
          else expect(run(matcher, text)).toBe(expected)
        }
      }),
      { numRuns: 2_500 },
    )
  })

  test('where states are forgotten because there are too many', () => {
    const pattern = '^(a|b)*a(a|b){11}$'
    const matcher = matcherOf(pattern) as PatternMatcher
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b'), { minLength: 10, maxLength: 400 }), (parts) => {
        const text = parts.join('')
        expect(run(matcher, text)).toBe(/^(a|b)*a(a|b){11}$/.test(text))
      }),
      { numRuns: 300 },
    )
  })
})

test('bytes that are not UTF-8 are left to OPA', () => {
  const matcher = matcherOf('^..$') as PatternMatcher
  for (const bytes of [
    [0x80],
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xe0, 0x80, 0x80],
    [0xc3],
    [0xf0, 0x9f, 0x98],
  ]) {
    expect(matcher.test(Uint8Array.from(bytes), 0, bytes.length)).toBeUndefined()
  }
})

test('a pattern that backtracks for ever elsewhere takes linear time', () => {
  const matcher = matcherOf('^(a+)+$') as PatternMatcher
  const text = Buffer.from(`${'a'.repeat(1_000_000)}!`)
  const began = performance.now()
  expect(matcher.test(text, 0, text.length)).toBe(false)
  expect(performance.now() - began).toBeLessThan(500)
})

describe('through a policy', () => {
  test('constants and patterns from input, errors and arguments of other types', async () => {
    const { evaluate } = await startPolicy(
      `package p
re contains name if { some name in ["^a", "b$", "(", "é+"]; regex.match(name, input.text) }
given := regex.match(input.pattern, input.text)
globs contains name if { some name in ["*.a", "**", "{a,b}"]; glob.match(name, ["."], input.text) }
free := glob.match("a*", null, input.text)
delimited := glob.match(input.glob, input.delimiters, input.text)
no if not regex.match("^a", input.text)
`,
      ['p'],
    )
    const ask = (input: object) => JSON.parse(evaluate('p', JSON.stringify(input)) as string)
    for (let again = 0; again < 2; again++) {
      expect(ask({ text: 'a.b', pattern: '.', glob: 'a*', delimiters: [] })).toEqual({
        re: ['^a', 'b$'],
        given: true,
        globs: ['**'],
        free: true,
        delimited: false,
      })
      expect(ask({ text: 'éb', pattern: '(', glob: '*', delimiters: ['é'] })).toEqual({
        re: ['b$', 'é+'],
        globs: ['**'],
        free: false,
        delimited: false,
        no: true,
      })
      expect(ask({ text: 7, pattern: 7, glob: 'a', delimiters: ['ab'] })).toEqual({ re: [], globs: [], no: true })
    }
  })

  test('the steps of a decision are the same, whatever was asked before', async () => {
    const { instance, evaluate } = await startPolicy('package p\nok if regex.match(input.pattern, input.text)', ['p/ok'])
    const input = JSON.stringify({ pattern: '^/api/v[0-9]+/', text: '/api/v1/users' })
    evaluate('p/ok', input)
    const first = instance.lastSteps
    for (let i = 0; i < 300; i++) evaluate('p/ok', JSON.stringify({ pattern: `x${i}`, text: 'x' }))
    evaluate('p/ok', input)
    expect(instance.lastSteps).toBe(first)
  })

  test('a pattern that is not UTF-8 is an error as in OPA, not what it would be read as', async () => {
    const rego = 'package p\nre := regex.match(base64.decode(input), "\\ufffd")\ngl := glob.match(base64.decode(input), [], "\\ufffd")'
    const { evaluate } = await startPolicy(rego, ['p/re', 'p/gl'])
    for (const entrypoint of ['p/re', 'p/gl']) {
      for (const bytes of ['gA==', '77+9', 'YQ==']) {
        const input = JSON.stringify(bytes)
        const [opa] = await toolchain.evalAll({ files: { 'p.rego': rego }, data: '{}', entrypoint, timeNs: 0n }, [input])
        expect([entrypoint, bytes, evaluate(entrypoint, input)]).toEqual([entrypoint, bytes, (opa as EvalResult).result])
      }
    }
  })

  test('bytes of a text that are not UTF-8 are read as Go reads them', async () => {
    const rego = 'package p\nlengths := [n | some n in numbers.range(0, 6); regex.match(sprintf("^.{%d}$", [n]), base64.decode(input))]'
    const { evaluate } = await startPolicy(rego, ['p/lengths'])
    // A surrogate, overlong forms, beyond U+10FFFF, cut and lone bytes, and what is right.
    const texts = ['7aCA', 'wIA=', '4ICA', '8ICAgA==', '9JCAgA==', '4oI=', 'gA==', 'w6k=', '8J+YgA==', 'Ye2ggGE=']
    const files = { 'p.rego': rego }
    const inputs = texts.map((text) => JSON.stringify(text))
    const opa = await toolchain.evalAll({ files, data: '{}', entrypoint: 'p/lengths', timeNs: 0n }, inputs)
    expect(inputs.map((input) => evaluate('p/lengths', input))).toEqual(opa.map((answer) => (answer as EvalResult).result))
  })

  test('a match is paid for by the length of the text and the size of the pattern', async () => {
    const rego = 'package p\nmatched if regex.match(input.pattern, input.text)\nread if count([input.pattern, input.text]) == 0'
    const { instance, evaluate } = await startPolicy(rego, ['p/matched', 'p/read'])
    const cost = (pattern: string, text: string) => {
      const input = JSON.stringify({ pattern, text })
      evaluate('p/read', input)
      const read = instance.lastSteps
      evaluate('p/matched', input)
      return instance.lastSteps - read
    }
    const [short, long] = ['ab'.repeat(20), 'ab'.repeat(20_000)]
    expect(cost('^(a|b)*c', long)).toBeGreaterThan(cost('^(a|b)*c', short) + 39_000)
    expect(cost('^(a|b){1,400}c', short)).toBeGreaterThan(cost('^(a|b)*c', short) + 5_000)
  })
})
