// Tokens: what is read, what is believed, and why anything else is not (group D; keys of group D16 and E8).
import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { type JwtRules, parseJwt, verifyJwt } from '../../src/identity/jwt.ts'
import { verifyJwtSvid } from '../../src/identity/jwt-svid.ts'
import { KeySet } from '../../src/identity/key-set.ts'

const now = 1_772_618_400_000
const seconds = now / 1_000
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const ed = generateKeyPairSync('ed25519')
const jwkOf = (key: KeyObject, more: object) => ({ ...key.export({ format: 'jwk' }), use: 'jwt-svid', ...more })
const keys = new KeySet(JSON.stringify({ keys: [jwkOf(ec.publicKey, { kid: 'ec' }), jwkOf(rsa.publicKey, { kid: 'rsa' })] }), 'jwt-svid')
const rules: JwtRules = {
  algorithms: ['ES256', 'RS256', 'PS256'],
  types: ['at+jwt'],
  audiences: ['pdp'],
  required: ['sub'],
  maxLifetimeMs: 3_600_000,
  clockSkewMs: 30_000,
}
const claims = { sub: 'spiffe://a.example/x', aud: 'pdp', iat: seconds, exp: seconds + 300 }
const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token of any header and payload, signed by the right key whatever they say. */
function token(header: unknown = {}, payload: unknown = claims): string {
  const signed = `${encode(typeof header === 'string' ? header : { alg: 'ES256', kid: 'ec', typ: 'at+jwt', ...(header as object) })}.${encode(payload)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: ec.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
const withClaims = (more: object) => token({}, { ...claims, ...more })
const outcome = async (text: string, more: Partial<JwtRules> = {}, of = keys, at = now): Promise<string> => {
  try {
    await verifyJwt(parseJwt(text), { ...rules, ...more }, of.find, at)
    return 'verified'
  } catch (thrown) {
    const { code, message } = thrown as { code: string; message: string }
    expect(code).toBe('ERR_TOKEN_INVALID')
    return message.split(':')[0] as string
  }
}

test('what was signed by a key that is known, for this audience, now', async () => {
  expect(await outcome(token())).toBe('verified')
  for (const [alg, pair] of [
    ['RS256', rsa],
    ['PS256', rsa],
  ] as const) {
    const text = await new SignJWT(claims).setProtectedHeader({ alg, kid: 'rsa', typ: 'application/AT+jwt' }).sign(pair.privateKey)
    expect(await outcome(text)).toBe('verified')
  }
  expect(await outcome(withClaims({ aud: ['pdp'] }))).toBe('verified')
  expect(await outcome(token(), {}, keys, now + 300_000 + 29_999)).toBe('verified')
})

describe('refused', () => {
  const hmac = (secret: string | Buffer) => {
    const signed = `${encode({ alg: 'HS256', kid: 'ec', typ: 'at+jwt' })}.${encode(claims)}`
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
  }
  const spki = ec.publicKey.export({ type: 'spki', format: 'der' })
  const good = token()
  const [head, body, signature] = good.split('.') as [string, string, string]
  test.each<[string, string, string]>([
    ...['none', 'None', 'nOnE', ''].map((alg): [string, string, string] => [`D1 alg ${alg}`, token({ alg }), 'alg_not_allowed']),
    ['D1 no signature', `${encode({ alg: 'none', typ: 'at+jwt' })}.${body}.`, 'malformed_token'],
    ['D2 the public key in PEM as a secret', hmac(ec.publicKey.export({ type: 'spki', format: 'pem' })), 'alg_not_allowed'],
    ['D2 the public key in DER as a secret', hmac(spki), 'alg_not_allowed'],
    ['D2 the public key as a JWK as a secret', hmac(JSON.stringify(ec.publicKey.export({ format: 'jwk' }))), 'alg_not_allowed'],
    ['D3 a key of its own', token({ jwk: ec.publicKey.export({ format: 'jwk' }) }), 'untrusted_key_source'],
    ...['jku', 'x5u', 'x5c', 'x5t#S256'].map((name): [string, string, string] => [
      `D3 ${name}`,
      token({ [name]: 'https://evil.example' }),
      'untrusted_key_source',
    ]),
    ['D4 a path as a key ID', token({ kid: '../../dev/null' }), 'unknown_kid'],
    ['D4 a key ID of 10 kB', token({ kid: 'x'.repeat(10_000) }), 'unknown_kid'],
    ['D4 a number as a key ID', token({ kid: 7 }), 'unknown_kid'],
    ['D4 no key ID where there are two keys', token({ kid: undefined }), 'unknown_kid'],
    ['D4 the ID of another kind of key', token({ kid: 'rsa' }), 'unknown_kid'],
    ...[['exp'], [], ['b64'], ['x', 'x']].map((crit): [string, string, string] => [`D5 crit ${crit}`, token({ crit }), 'unsupported_crit']),
    ['D5 b64', token({ b64: false }), 'unsupported_crit'],
    ['D6 zip', token({ zip: 'DEF' }), 'unsupported_token'],
    ['D6 an encrypted token', `${encode({ alg: 'RSA-OAEP', enc: 'A256GCM' })}.a.b.c.d`, 'unsupported_token'],
    ['D7 flattened JSON', JSON.stringify({ payload: body, protected: head, signature }), 'malformed_token'],
    ['D8 a million dots', '.'.repeat(1_000_000), 'malformed_token'],
    ['D8 a megabyte', `${head}.${'A'.repeat(1_000_000)}.${signature}`, 'malformed_token'],
    ['D9 padding', `${head}.${body}.${signature}==`, 'malformed_token'],
    ['D9 the other alphabet', `${head}.${body}.${signature.slice(0, -1)}+`, 'malformed_token'],
    ['D9 a space', `${head}.${body} .${signature}`, 'malformed_token'],
    [
      'D9 bits behind the end',
      `${head}.${body}.${signature.slice(0, -1)}${signature.endsWith('A') ? 'B' : 'A'}`.replace(/.$/, (c) => (c === 'A' ? 'B' : 'C')),
      'malformed_token',
    ],
    ['D10 a claim twice', token({}, `{"sub":"a","aud":"pdp","exp":${seconds + 9},"exp":${seconds + 300}}`), 'malformed_token'],
    ['D10 a field of the header twice', token('{"alg":"ES256","kid":"ec","kid":"ec","typ":"at+jwt"}'), 'malformed_token'],
    ['a payload that is no object', token({}, []), 'malformed_token'],
    ['a payload that is not UTF-8', `${head}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${signature}`, 'malformed_token'],
    ['D11 no exp', withClaims({ exp: undefined }), 'missing_claim'],
    ...['soon', 1e308, -1, null].map((exp): [string, string, string] => [`D11 exp ${exp}`, withClaims({ exp }), 'malformed_claim']),
    ['D11 expired', withClaims({ exp: seconds - 31, iat: seconds - 60 }), 'expired'],
    ['D11 nbf in the future', withClaims({ nbf: seconds + 31 }), 'not_yet_valid'],
    ['D11 iat in the future', withClaims({ iat: seconds + 31 }), 'issued_in_future'],
    ['D11 a life of more than an hour', withClaims({ exp: seconds + 3_601 }), 'lifetime_too_long'],
    ['D11 a long life without iat', withClaims({ iat: undefined, exp: seconds + 3_700 }), 'lifetime_too_long'],
    ['D12 no aud', withClaims({ aud: undefined }), 'missing_claim'],
    ['D12 another', withClaims({ aud: 'other' }), 'wrong_audience'],
    ['D12 one more', withClaims({ aud: ['pdp', 'other'] }), 'wrong_audience'],
    ['D12 a list of nobody', withClaims({ aud: [] }), 'wrong_audience'],
    ['D12 an object', withClaims({ aud: { pdp: true } }), 'malformed_claim'],
    ['D12 nobody', withClaims({ aud: '' }), 'malformed_claim'],
    ['no subject', withClaims({ sub: undefined }), 'missing_claim'],
    ...['JWT', 'secevent+jwt', 'dpop+jwt', 'logout+jwt', undefined].map((typ): [string, string, string] => [
      `D14 typ ${typ}`,
      token({ typ }),
      'type_not_allowed',
    ]),
    ['D14 a number as a type', token({ typ: 1 }), 'type_not_allowed'],
    ['D15 r and s are zero', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`, 'bad_signature'],
    [
      'D15 a signature in DER',
      `${head}.${body}.${sign('sha256', Buffer.from(`${head}.${body}`), ec.privateKey).toString('base64url')}`,
      'bad_signature',
    ],
    ['D15 a short signature', `${head}.${body}.${signature.slice(0, 40)}`, 'bad_signature'],
    ['another payload', `${head}.${encode({ ...claims, sub: 'x' })}.${signature}`, 'bad_signature'],
  ])('%s', async (_what, text, fault) => expect(await outcome(text)).toBe(fault))
})

describe('keys that are left out', () => {
  const size = (...jwks: object[]) => new KeySet(JSON.stringify({ keys: jwks }), 'jwt-svid').size
  test.each<[string, object[], number]>([
    ['good ones', [jwkOf(ec.publicKey, { kid: 'a' }), jwkOf(ed.publicKey, { kid: 'b' })], 2],
    ['without a use', [jwkOf(ec.publicKey, { use: undefined })], 0],
    ['of another use', [jwkOf(ec.publicKey, { use: 'x509-svid' }), jwkOf(ec.publicKey, { use: 'enc' })], 0],
    ['private ones', [jwkOf(ec.privateKey, {})], 0],
    ['secrets', [{ kty: 'oct', k: 'AAAA', use: 'jwt-svid' }], 0],
    ['not for verification', [jwkOf(ec.publicKey, { key_ops: ['sign'] })], 0],
    ['of another algorithm than their kind has', [jwkOf(ec.publicKey, { alg: 'RS256' })], 0],
    ['RSA of 1,024 bits', [jwkOf(weak.publicKey, {})], 0],
    ['RSA with the exponent 1', [jwkOf(rsa.publicKey, { e: 'AQ' })], 0],
    ['off the curve', [jwkOf(ec.publicKey, { x: 'AAAA' })], 0],
    ['two under one name', [jwkOf(ec.publicKey, { kid: 'a' }), jwkOf(rsa.publicKey, { kid: 'a' })], 0],
  ])('%s', (_what, jwks, left) => expect(size(...jwks)).toBe(left))

  test('a key is for its own algorithm only', () => {
    const set = new KeySet(JSON.stringify({ keys: [jwkOf(rsa.publicKey, { kid: 'a', alg: 'PS256' })] }), 'jwt-svid')
    expect([set.find({ kid: 'a', alg: 'PS256' }) !== undefined, set.find({ kid: 'a', alg: 'RS256' })]).toEqual([true, undefined])
    expect(createPublicKey(rsa.privateKey).equals(set.find({ kid: 'a', alg: 'PS256' }) as KeyObject)).toBe(true)
  })

  test.each(['', '[]', '{}', '{"keys":{}}', '{"keys":[],"keys":[]}', 'x'])('%j is no set', (text) =>
    expect(() => new KeySet(text, 'sig')).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' })),
  )
})

describe('JWT-SVIDs', () => {
  const svid = (header: object, payload: object = {}) => token({ typ: undefined, ...header }, { ...claims, ...payload })
  const verify = async (text: string) =>
    verifyJwtSvid(parseJwt(text), ['pdp'], (domain) => (domain === 'a.example' ? keys : undefined), now).then(
      ({ text: id }) => id,
      ({ message }: Error) => message.split(':')[0],
    )
  let edSvid: string
  beforeAll(async () => {
    edSvid = await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', kid: 'ec' }).sign(ed.privateKey)
  })

  test('of a workload', async () => {
    for (const typ of [undefined, 'JWT', 'JOSE']) expect(await verify(svid({ typ }))).toBe(claims.sub)
    expect(await verify(svid({}, { iat: undefined }))).toBe(claims.sub)
  })

  test('an algorithm that they may not have', async () => expect(await verify(edSvid)).toBe('alg_not_allowed'))

  test.each<[string, string, string]>([
    ['another type', svid({ typ: 'at+jwt' }), 'type_not_allowed'],
    ['more in its header', svid({ x: 1 }), 'malformed_token'],
    ['no SPIFFE ID', svid({}, { sub: 'alice' }), 'malformed_claim'],
    ['the trust domain alone', svid({}, { sub: 'spiffe://a.example' }), 'malformed_claim'],
    ['another trust domain, by a key of this one', svid({}, { sub: 'spiffe://b.example/x' }), 'unknown_issuer'],
    ['no expiry', svid({}, { exp: undefined }), 'missing_claim'],
    ['another audience', svid({}, { aud: 'other' }), 'wrong_audience'],
    ['no subject', svid({}, { sub: undefined }), 'missing_claim'],
  ])('%s', async (_what, text, fault) => expect(await verify(text)).toBe(fault))
})
