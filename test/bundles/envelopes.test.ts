// Envelopes of further signers: what was signed verifies, each key counts once, and anything else is refused (group F6).
import { createHash, createSecretKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { type EnvelopeClaims, makeEnvelope, verifyEnvelope } from '../../src/bundles/envelopes.ts'
import { fingerprintOf, type SigningAlgorithm, type VerificationKey } from '../../src/bundles/signatures.ts'

const digest = `sha256:${createHash('sha256').update('archive').digest('hex')}`
const now = 1_772_618_400_000
const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  EdDSA: generateKeyPairSync('ed25519'),
} as const
type Name = keyof typeof pairs
const keyOf = (algorithm: Name, id = `key-${algorithm}`): VerificationKey => ({ id, algorithm, key: pairs[algorithm].publicKey })
const keys = [keyOf('ES256'), keyOf('RS256'), keyOf('EdDSA')]
const make = (algorithm: SigningAlgorithm, key: KeyObject, id: string | undefined, claims: EnvelopeClaims = {}) =>
  makeEnvelope(digest, { id, algorithm, key }, claims)
const verify = (text: string, of = keys, name = 'main', at = now) => verifyEnvelope(text, digest, name, of, at)
type Envelope = { readonly payload: string; readonly payloadType: string; readonly signatures: readonly { keyid: string; sig: string }[] }
const change = (text: string, edit: (envelope: Envelope) => Partial<Envelope>): string => {
  const envelope = JSON.parse(text) as Envelope
  return JSON.stringify({ ...envelope, ...edit(envelope) })
}
const refusal = expect.objectContaining({ code: 'ERR_BUNDLE_SIGNATURE' })
const good = make('EdDSA', pairs.EdDSA.privateKey, 'key-EdDSA')

describe('verified', () => {
  test.each(Object.keys(pairs) as Name[])('%s', (algorithm) => {
    const text = make(algorithm, pairs[algorithm].privateKey, `key-${algorithm}`, { bundle: 'main', expiresAtMs: now + 1_000 })
    expect(verify(text)).toEqual([
      expect.objectContaining({
        keyId: `key-${algorithm}`,
        algorithm,
        fingerprint: fingerprintOf(pairs[algorithm].publicKey),
        expiresAtMs: now + 1_000,
      }),
    ])
  })

  test('PS256, and a signature that names no key', () => {
    const ps = { id: 'ps', algorithm: 'PS256', key: pairs.RS256.publicKey } as const
    expect(verify(make('PS256', pairs.RS256.privateKey, undefined), [keyOf('ES256'), ps])).toEqual([
      expect.objectContaining({ keyId: 'ps' }),
    ])
  })

  test('secrets among the keys are no signers', () => {
    const secret = { id: 'hs', algorithm: 'HS256', key: createSecretKey(Buffer.alloc(32, 1)) } as const
    const unnamed = make('EdDSA', pairs.EdDSA.privateKey, undefined)
    expect(verify(unnamed, [secret, keyOf('EdDSA')])).toEqual([expect.objectContaining({ keyId: 'key-EdDSA' })])
  })

  test('one key under two IDs is one signer', () => {
    const twice = change(good, ({ signatures }) => ({ signatures: signatures.flatMap((one) => [one, { ...one, keyid: 'again' }]) }))
    expect(verify(twice, [keyOf('EdDSA'), keyOf('EdDSA', 'again')])).toHaveLength(1)
  })

  test('what is signed is the encoding of the specification, as another tool writes it', () => {
    const type = 'application/vnd.in-toto+json'
    const payload = JSON.stringify({
      _type: 'https://in-toto.io/Statement/v0.1',
      subject: [{ name: 'x', digest: { sha1: '00' } }, { digest: { sha256: digest.slice(7) } }],
      predicateType: 'https://example.com/p',
    })
    const sig = sign(null, Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} ${payload}`), pairs.EdDSA.privateKey)
    const signatures = [{ keyid: 'key-EdDSA', sig: sig.toString('base64') }]
    expect(verify(JSON.stringify({ payload: Buffer.from(payload).toString('base64'), payloadType: type, signatures }))).toHaveLength(1)
  })
})

describe('refused', () => {
  test.each<[string, string]>([
    ['no JSON', '{'],
    ['a key twice', good.replace('{', '{"payloadType":"application/vnd.in-toto+json",')],
    ['no signature', change(good, () => ({ signatures: [] }))],
    ['another payload', change(good, () => ({ payload: Buffer.from('{}').toString('base64') }))],
    ['a signature cut short', change(good, () => ({ signatures: [{ keyid: 'key-EdDSA', sig: 'AAAA' }] }))],
    ['another type', change(good, () => ({ payloadType: 'application/json' }))],
    ['an unknown key', make('EdDSA', generateKeyPairSync('ed25519').privateKey, 'stranger')],
    ['a stranger under a known name', make('EdDSA', generateKeyPairSync('ed25519').privateKey, 'key-EdDSA')],
    ['another bundle', make('EdDSA', pairs.EdDSA.privateKey, 'key-EdDSA', { bundle: 'other' })],
    ['an expiry that has passed', make('EdDSA', pairs.EdDSA.privateKey, 'key-EdDSA', { expiresAtMs: now })],
    [
      'another archive',
      makeEnvelope(
        digest.replace(/.$/, (c) => (c === '0' ? '1' : '0')),
        { id: 'key-EdDSA', algorithm: 'EdDSA', key: pairs.EdDSA.privateKey },
        {},
      ),
    ],
    [
      'one that verifies beside one that does not',
      change(good, ({ signatures }) => ({ signatures: [...signatures, { keyid: 'key-ES256', sig: 'AAAA' }] })),
    ],
  ])('%s', (_name, text) => expect(() => verify(text)).toThrow(refusal))

  test('a secret, which whoever verifies could sign with', () => {
    expect(() => make('HS256', pairs.EdDSA.privateKey, 'hs')).toThrow(expect.objectContaining({ code: 'ERR_USAGE' }))
  })
})
