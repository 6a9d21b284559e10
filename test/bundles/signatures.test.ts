// Signatures of bundles: what was signed verifies, and anything else does not (group F6 of hostile inputs).
import { createHash, createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { CompactSign, decodeJwt } from 'jose'
import {
  fingerprintOf,
  parseKey,
  type SignatureDemands,
  type SigningAlgorithm,
  type SigningClaims,
  signaturesFile,
  signFiles,
  verifySignatures,
} from '../../src/bundles/signatures.ts'
import { codeOf } from '../support/code-of.ts'

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ed = generateKeyPairSync('ed25519')
const pem = (key: KeyObject) => key.export({ type: key.type === 'public' ? 'spki' : 'pkcs8', format: 'pem' }) as string
const content = { '.manifest': '{"revision":"r1"}', 'data.json': '{"b":1.10,"a":["x"]}', 'p.rego': 'package p', 'policy.wasm': '\0asm' }
const now = 1_772_618_400_000
const demands: SignatureDemands = {
  keys: [{ id: 'ci', algorithm: 'ES256', key: ec.publicKey }],
  scope: undefined,
  requireExpiry: false,
  requireSequence: false,
}

const filesOf = (more: Record<string, string | undefined> = {}) =>
  new Map(
    Object.entries({ ...content, ...more }).flatMap(([path, text]) => (text === undefined ? [] : [[path, Buffer.from(text)] as const])),
  )

async function signed(claims: SigningClaims = {}, more: Record<string, string | undefined> = {}): Promise<Map<string, Buffer>> {
  const text = await signFiles(filesOf(), { id: 'ci', algorithm: 'ES256', key: ec.privateKey }, claims, now)
  return filesOf({ [signaturesFile]: text, ...more })
}

/** The same list of files, with other claims, signed by the right key unless another is given. */
async function resigned(
  change: (claims: Record<string, unknown>) => unknown,
  alg = 'ES256',
  key: KeyObject | Uint8Array = ec.privateKey,
  kid = 'ci',
) {
  const files = await signed()
  const [token] = JSON.parse((files.get(signaturesFile) as Buffer).toString()).signatures
  const payload = Buffer.from(JSON.stringify(change(decodeJwt(token) as Record<string, unknown>)))
  const jwt = await new CompactSign(payload).setProtectedHeader({ alg, kid }).sign(key)
  return files.set(signaturesFile, Buffer.from(JSON.stringify({ signatures: [jwt] })))
}

const verify = (files: Map<string, Buffer>, more: Partial<SignatureDemands> = {}, name = 'main', at = now) =>
  verifySignatures(files, name, { ...demands, ...more }, at)
const refusal = async (files: Map<string, Buffer>, more: Partial<SignatureDemands> = {}, name = 'main', at = now) =>
  verify(files, more, name, at).then(
    () => 'verified',
    (error: { code?: string }) => error.code,
  )

describe('verified', () => {
  test.each([
    ['ES256', ec],
    ['RS256', rsa],
    ['PS512', rsa],
    ['EdDSA', ed],
  ] as [SigningAlgorithm, { publicKey: KeyObject; privateKey: KeyObject }][])('%s', async (algorithm, pair) => {
    const key = parseKey(pem(pair.privateKey), algorithm, 'private', 'here')
    const files = filesOf({ [signaturesFile]: await signFiles(filesOf(), { id: 'k', algorithm, key }, { sequence: 7 }, now) })
    const keys = [{ id: 'k', algorithm, key: parseKey(pem(pair.publicKey), algorithm, 'public', 'here') }]
    expect(await verify(files, { keys })).toEqual({
      keyId: 'k',
      algorithm,
      fingerprint: fingerprintOf(pair.publicKey),
      issuer: undefined,
      expiresAtMs: undefined,
      sequence: 7,
    })
  })

  test('HS256, with a secret of its own', async () => {
    const key = parseKey('a-secret-of-more-than-32-characters', 'HS256', 'private', 'here')
    const files = filesOf({ [signaturesFile]: await signFiles(filesOf(), { id: 'k', algorithm: 'HS256', key }, {}, now) })
    expect((await verify(files, { keys: [{ id: 'k', algorithm: 'HS256', key }] }))?.keyId).toBe('k')
  })

  test('no signature is told as that', async () => expect(await verify(filesOf())).toBeUndefined())

  test('a list without raw hashes, as OPA writes it: spaces in data do not count', async () => {
    const files = await resigned(({ verdict: _, ...claims }) => claims)
    files.set('data.json', Buffer.from(' {"a": ["x"], "b": 1.10}\n'))
    expect((await verify(files))?.keyId).toBe('ci')
    files.set('data.json', Buffer.from('{"a":["x"],"b":1.1}'))
    expect(await refusal(files)).toBe('ERR_BUNDLE_SIGNATURE')
  })
})

describe('refused', () => {
  test.each([
    ['a changed policy', { 'policy.wasm': '\0asm1' }],
    ['data with other spaces, where raw hashes are signed', { 'data.json': '{"a":["x"],"b":1.10}' }],
    ['another manifest', { '.manifest': '{"revision":"r2"}' }],
    ['a file that is not listed', { 'extra.rego': 'package p' }],
    ['a file that is listed and missing', { 'p.rego': undefined }],
    ['no JSON', { [signaturesFile]: 'x' }],
    ['no JWT', { [signaturesFile]: '{"signatures":[]}' }],
    ['a key twice', { [signaturesFile]: '{"signatures":[],"signatures":["x"]}' }],
    ['what is no JWT', { [signaturesFile]: '{"signatures":["x"]}' }],
  ])('%s', async (_what, more) => expect(await refusal(await signed({}, more))).toBe('ERR_BUNDLE_SIGNATURE'))

  test('two JWTs', async () => {
    const files = await signed()
    const [token] = JSON.parse((files.get(signaturesFile) as Buffer).toString()).signatures
    files.set(signaturesFile, Buffer.from(JSON.stringify({ signatures: [token, token] })))
    expect(await refusal(files)).toBe('ERR_BUNDLE_SIGNATURE')
  })

  test('no algorithm', async () => {
    const files = await signed()
    const [token] = JSON.parse((files.get(signaturesFile) as Buffer).toString()).signatures as string[]
    const header = Buffer.from('{"alg":"none","kid":"ci"}').toString('base64url')
    files.set(signaturesFile, Buffer.from(JSON.stringify({ signatures: [`${header}.${token?.split('.')[1]}.`] })))
    expect(await refusal(files)).toBe('ERR_BUNDLE_SIGNATURE')
  })

  test('HS256 with the public key as the secret', async () => {
    const files = await signed()
    const [token] = JSON.parse((files.get(signaturesFile) as Buffer).toString()).signatures as string[]
    const head = Buffer.from('{"alg":"HS256","kid":"ci"}').toString('base64url')
    const body = `${head}.${token?.split('.')[1]}`
    const mac = createHmac('sha256', pem(ec.publicKey)).update(body).digest('base64url')
    files.set(signaturesFile, Buffer.from(JSON.stringify({ signatures: [`${body}.${mac}`] })))
    expect(await refusal(files)).toBe('ERR_BUNDLE_SIGNATURE')
    expect(codeOf(() => parseKey(pem(ec.publicKey), 'HS256', 'public', 'here'))).toBe('ERR_CONFIG_INVALID')
  })

  test.each([
    ['a key that is not configured', async () => resigned((claims) => claims, 'ES256', ec.privateKey, 'other')],
    ['another algorithm than the key has', async () => resigned((claims) => claims, 'RS256', rsa.privateKey)],
    [
      'itself in the list',
      async () => resigned((c) => ({ ...c, files: [...(c.files as object[]), { name: signaturesFile, hash: '', algorithm: 'SHA-256' }] })),
    ],
    ['a file twice in the list', async () => resigned((c) => ({ ...c, files: [...(c.files as object[]), (c.files as object[])[0]] }))],
    ['another scope', async () => resigned((c) => ({ ...c, scope: 'write' }))],
    ['no files', async () => resigned((c) => ({ ...c, files: [] }))],
  ])('%s', async (_what, make) => expect(await refusal(await make())).toBe('ERR_BUNDLE_SIGNATURE'))

  test.each(['MD5', 'SHA-1'])('%s, though every hash is right', async (algorithm) => {
    // What OPA hashes: data and manifest as values, their keys in order.
    const hashed: Readonly<Record<string, string>> = { ...content, 'data.json': '{"a":["x"],"b":1.10}' }
    const hash = (name: string) =>
      createHash(algorithm.replace('-', ''))
        .update(hashed[name] as string)
        .digest('hex')
    const files = Object.keys(content).map((name) => ({ name, hash: hash(name), algorithm }))
    expect(await refusal(await resigned(({ verdict: _, ...claims }) => ({ ...claims, files })))).toBe('ERR_BUNDLE_SIGNATURE')
  })

  test('a key of data twice, which hides a value from the hash', async () => {
    const files = await resigned(({ verdict: _, ...claims }) => claims)
    files.set('data.json', Buffer.from('{"a":["y"],"b":1.10,"a":["x"]}'))
    expect(await refusal(files)).toBe('ERR_BUNDLE_SIGNATURE')
  })

  test('what has expired, is for another bundle, or lacks what is required', async () => {
    expect(await refusal(await signed({ expiresAtMs: now + 10_000 }), { requireExpiry: true })).toBe('verified')
    expect(await refusal(await signed({ expiresAtMs: now + 10_000 }), {}, 'main', now + 10_001)).toBe('ERR_BUNDLE_SIGNATURE')
    expect(await refusal(await signed(), { requireExpiry: true })).toBe('ERR_BUNDLE_SIGNATURE')
    expect(await refusal(await signed(), { requireSequence: true })).toBe('ERR_BUNDLE_SIGNATURE')
    expect(await refusal(await signed({ bundle: 'other' }))).toBe('ERR_BUNDLE_SIGNATURE')
    expect(await refusal(await signed({ scope: 'a' }), { scope: 'a' })).toBe('verified')
    expect(await refusal(await signed(), { keys: [] })).toBe('ERR_BUNDLE_SIGNATURE')
  })

  test('keys that do not fit their algorithm', () => {
    for (const [key, algorithm] of [
      [ec, 'RS256'],
      [ec, 'ES384'],
      [rsa, 'ES256'],
      [rsa, 'EdDSA'],
    ] as const) {
      expect(codeOf(() => parseKey(pem(key.publicKey), algorithm, 'public', 'here'))).toBe('ERR_CONFIG_INVALID')
    }
    expect(codeOf(() => parseKey('short', 'HS256', 'public', 'here'))).toBe('ERR_CONFIG_INVALID')
  })
})
