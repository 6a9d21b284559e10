// SPIFFE IDs and patterns of them (groups E3 and E9).
import { describe, expect, test } from '@jest/globals'
import { parseSpiffeId, spiffePattern } from '../../src/identity/spiffe-id.ts'

test.each(['spiffe://td/x', 'spiffe://example.org/ns/prod/sa/gate-way_1.a', 'spiffe://1.2.3.4/a..b', `spiffe://td/${'x'.repeat(2_035)}`])(
  '%#: an ID',
  (text) => expect(parseSpiffeId(text).text).toBe(text),
)

describe('refused', () => {
  test.each([
    ['no path', 'spiffe://td'],
    ['an empty path', 'spiffe://td/'],
    ['upper case in the trust domain', 'spiffe://TD/x'],
    ['upper case in the scheme', 'SPIFFE://td/x'],
    ['a port', 'spiffe://td:443/x'],
    ['a user', 'spiffe://u@td/x'],
    ['no trust domain', 'spiffe:///x'],
    ['a slash at the end', 'spiffe://td/x/'],
    ['an empty segment', 'spiffe://td//x'],
    ['a dot', 'spiffe://td/./x'],
    ['two dots', 'spiffe://td/../x'],
    ['an escape', 'spiffe://td/%41'],
    ['a query', 'spiffe://td/x?q'],
    ['a fragment', 'spiffe://td/x#f'],
    ['a letter of another script', 'spiffe://td/х'],
    ['a letter of another script in the trust domain', 'spiffe://tе/x'],
    ['2,049 characters', `spiffe://td/${'x'.repeat(2_037)}`],
    ['a trust domain of 256 characters', `spiffe://${'x'.repeat(256)}/x`],
    ['another scheme', 'https://td/x'],
    ['a NUL', 'spiffe://td/x\0'],
    ['a space at the end', 'spiffe://td/x '],
  ])('%s', (_what, text) => expect(() => parseSpiffeId(text)).toThrow(expect.objectContaining({ code: 'ERR_CERTIFICATE_REFUSED' })))

  test('upper case is said', () => expect(() => parseSpiffeId('spiffe://TD/x')).toThrow('lower case'))
})

describe('patterns', () => {
  test.each<[string, string, boolean]>([
    ['spiffe://td/ns/a', 'spiffe://td/ns/a', true],
    ['spiffe://td/ns/a', 'spiffe://td/ns/ab', false],
    ['spiffe://td/ns/a', 'spiffe://td/ns/a/b', false],
    ['spiffe://td/ns/*', 'spiffe://td/ns/ab', true],
    ['spiffe://td/ns/*', 'spiffe://td/ns/a/b', false],
    ['spiffe://td/*/a', 'spiffe://td/ns/a', true],
    ['spiffe://td/ns/**', 'spiffe://td/ns/a/b', true],
    ['spiffe://td/ns/**', 'spiffe://td/ns', false],
    ['spiffe://td/ns/**', 'spiffe://td/nsx/a', false],
    ['spiffe://t.d/a', 'spiffe://txd/a', false],
    ['spiffe://td/a', 'spiffe://td.evil/a', false],
    ['spiffe://td/a.b', 'spiffe://td/axb', false],
  ])('%s and %s: %s', (pattern, id, is) => expect(spiffePattern(pattern)(parseSpiffeId(id))).toBe(is))

  test.each([
    'spiffe://*/a',
    'spiffe://td',
    'spiffe://td/',
    'spiffe://td/a*',
    'spiffe://td/**/a',
    'td/a',
    'spiffe://TD/a',
    'spiffe://td/..',
  ])('%s is none', (pattern) => expect(() => spiffePattern(pattern)).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' })))
})
