// Remembered verifications: the answers of OPA's function at every instant, and the same steps.
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import type { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { startPolicy, toolchain } from '../support/toolchain.ts'

const rego = `package p
verified := io.jwt.decode_verify(input.token, input.constraint)
signed := io.jwt.verify_hs256(input.token, input.constraint.secret)
signed_es := io.jwt.verify_es256(input.token, input.constraint.cert)
decoded := io.jwt.decode(input.token)
`
const secret = 'a secret that is long enough for HMAC'

function token(payload: object, key = secret): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(payload)}`
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
}

const second = 1_000
const start = Date.UTC(2026, 0, 1)
const seconds = (ms: number) => ms / second

async function oracle(input: string, timeMs: number, entrypoint: string): Promise<string | undefined> {
  const timeNs = BigInt(timeMs) * 1_000_000n
  const [answer] = await toolchain.evalAll({ files: { 'policy.rego': rego }, data: '{}', entrypoint, timeNs }, [input])
  return answer instanceof Error || answer === undefined ? undefined : (answer as { result?: string }).result
}

function ask(policy: PolicyInstance, entrypoint: string, input: string, timeMs: number): string | undefined {
  return policy.evaluate(policy.entrypoints.get(entrypoint) as number, input, timeMs).result
}

describe('what was verified', () => {
  test('is verified at every instant as OPA does, in whatever order they come', async () => {
    const { instance } = await startPolicy(rego, ['p/verified'])
    const payloads = [
      { sub: 'a' },
      { sub: 'a', exp: seconds(start) + 10 },
      { sub: 'a', nbf: seconds(start) + 5, exp: seconds(start) + 10 },
      { sub: 'a', exp: seconds(start) + 10.5 },
      { sub: 'a', exp: 'soon' },
      { sub: 'a', exp: 1e300 },
      { sub: 'a', nbf: seconds(start) + 5 },
    ]
    const offsets = [6_000, 8_999, 9_000, 9_500, 10_000, 10_499, 10_500, 11_000, 4_999, 5_000, 0, 6_000, 20_000, 7_000]
    for (const payload of payloads) {
      const input = JSON.stringify({ token: token(payload), constraint: { secret } })
      for (const offset of offsets) {
        const answer = ask(instance, 'p/verified', input, start + offset)
        expect([payload, offset, answer]).toEqual([payload, offset, await oracle(input, start + offset, 'p/verified')])
      }
    }
  })

  test('belongs to its token, its key and its constraint', async () => {
    const { instance } = await startPolicy(rego, ['p/verified', 'p/signed', 'p/signed_es', 'p/decoded'])
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const text = token({ sub: 'e' }).split('.').slice(0, 2).join('.')
    const es = `${text}.${sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    const cert = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const inputs = [
      { token: token({ sub: 'a', aud: 'x' }), constraint: { secret, cert, aud: 'x' } },
      { token: token({ sub: 'a', aud: 'x' }), constraint: { secret, cert, aud: 'y' } },
      { token: token({ sub: 'a', aud: 'x' }), constraint: { secret: 'another', cert, aud: 'x' } },
      { token: token({ sub: 'b' }, 'another'), constraint: { secret, cert } },
      { token: es, constraint: { secret, cert } },
      { token: `${es}x`, constraint: { secret, cert } },
      { token: 'no token', constraint: { secret, cert } },
    ].map((input) => JSON.stringify(input))
    for (const entrypoint of ['p/verified', 'p/signed', 'p/signed_es', 'p/decoded']) {
      for (let again = 0; again < 2; again++) {
        for (const input of inputs) expect(ask(instance, entrypoint, input, start)).toBe(await oracle(input, start, entrypoint))
      }
    }
  })
})

test('a remembered answer costs the same steps', async () => {
  const { instance } = await startPolicy(rego, ['p/verified'])
  const input = JSON.stringify({ token: token({ sub: 'a' }), constraint: { secret } })
  const steps = [1, 2, 3].map(() => {
    ask(instance, 'p/verified', input, start)
    return instance.lastSteps
  })
  expect(new Set(steps).size).toBe(1)
  expect(steps[0]).toBeGreaterThan(1_000)
})
