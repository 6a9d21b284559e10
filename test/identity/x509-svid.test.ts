// Certificates of workloads: who is believed, and by the authorities of which domain (groups E1, E2, E4 to E6).
import { X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { parseRevocationLists } from '../../src/identity/x509.ts'
import { type TrustBundle, verifySvid } from '../../src/identity/x509-svid.ts'
import { KeyUsageFlags, type LeafOptions, TestAuthority } from '../support/certificates.ts'

const id = 'spiffe://a.example/ns/prod/gateway'
let a: TestAuthority
let b: TestAuthority
let bundles: Map<string, TrustBundle>
const read = (pem: string) => new X509Certificate(pem)
const bundleOf = (authorities: readonly TestAuthority[], lists?: string): TrustBundle => ({
  authorities: authorities.map(({ cert }) => read(cert)),
  lists: lists === undefined ? undefined : parseRevocationLists(lists, 'test'),
})
beforeAll(async () => {
  a = await TestAuthority.create('a', ['spiffe://a.example'])
  b = await TestAuthority.create('b', ['spiffe://b.example'])
  bundles = new Map([
    ['a.example', bundleOf([a])],
    ['b.example', bundleOf([b])],
  ])
})
const verify = (chain: readonly string[], of = bundles, now = Date.now()) => verifySvid(chain.map(read), of, now)
const refusal = (message: string) => expect.objectContaining({ code: 'ERR_CERTIFICATE_REFUSED', message: expect.stringContaining(message) })

test('a workload of its trust domain, until its certificate expires', async () => {
  const notAfter = new Date((Math.floor(Date.now() / 1_000) + 60) * 1_000)
  const { cert } = await a.issue('gateway', { uris: [id], notAfter })
  expect(verify([cert])).toMatchObject({ id: { text: id, trustDomain: 'a.example' }, validUntilMs: notAfter.getTime() })
  expect(() => verify([cert], bundles, notAfter.getTime())).toThrow(refusal('expired'))
  expect(() => verify([cert], bundles, Date.now() - 120_000)).toThrow(refusal('not valid yet'))
})

describe('refused', () => {
  test.each<[string, LeafOptions, string]>([
    ['no URI', { dns: ['a.example'] }, 'no SPIFFE ID'],
    ['the ID as a DNS name', { dns: [id] }, 'no SPIFFE ID'],
    ['two URIs', { uris: [id, 'spiffe://a.example/other'] }, 'several URIs'],
    ['text that looks like a URI within another name', { dns: [`x, URI:${id}`] }, 'no SPIFFE ID'],
    ['a URI that is no ID', { uris: ['https://a.example/x'] }, 'spiffe://'],
    ['the trust domain alone', { uris: ['spiffe://a.example'] }, 'no path'],
    ['an authority as a workload', { uris: [id], isCa: true }, 'authority'],
    ['one that may sign certificates', { uris: [id], usages: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign }, 'may sign'],
    ['one that may sign lists', { uris: [id], usages: KeyUsageFlags.digitalSignature | KeyUsageFlags.cRLSign }, 'may sign'],
    ['one whose use is not critical', { uris: [id], isUsageCritical: false }, 'not marked as critical'],
    ['one that is not for signatures', { uris: [id], usages: KeyUsageFlags.keyEncipherment }, 'digital signatures'],
    ['another trust domain than the issuer’s', { uris: ['spiffe://b.example/x'] }, 'not issued by an authority of its trust domain'],
    ['a trust domain that nobody knows', { uris: ['spiffe://c.example/x'] }, 'nothing is known'],
  ])('%s', async (_what, options, message) => {
    const { cert } = await a.issue(id, options)
    expect(() => verify([cert])).toThrow(refusal(message))
  })

  test('a domain without authorities', async () => {
    const { cert } = await a.issue('x', { uris: [id] })
    expect(() => verify([cert], new Map([['a.example', bundleOf([])]]))).toThrow(refusal('no authorities'))
  })

  test('a name of the right issuer and another key', async () => {
    const impostor = await TestAuthority.create('a', ['spiffe://a.example'])
    const { cert } = await impostor.issue('x', { uris: [id] })
    expect(() => verify([cert])).toThrow(refusal('not issued'))
    expect(() => verify([cert, impostor.cert])).toThrow(refusal('not issued'))
  })

  test('what is signed by an authority that two domains share is of the domain that it names', async () => {
    const { cert } = await a.issue('x', { uris: [id] })
    const shared = new Map([
      ['a.example', bundleOf([a])],
      ['c.example', bundleOf([a])],
    ])
    expect(verify([cert], shared).id.trustDomain).toBe('a.example')
  })
})

describe('intermediates', () => {
  const below = async (options = {}) => a.authority('intermediate', options)

  test('a chain over one', async () => {
    const intermediate = await below()
    const { cert } = await intermediate.issue('x', { uris: [id] })
    expect(verify([cert, intermediate.cert]).id.text).toBe(id)
    expect(() => verify([cert])).toThrow(refusal('not issued'))
  })

  test('no more of them than an authority allows', async () => {
    const last = await below({ pathLength: 0 })
    const { cert } = await last.issue('x', { uris: [id] })
    expect(verify([cert, last.cert]).id.text).toBe(id)
    const further = await last.authority('further')
    const { cert: second } = await further.issue('x', { uris: [id] })
    expect(() => verify([second, further.cert, last.cert])).toThrow(refusal('longer than an authority of it allows'))
  })

  test('a workload’s certificate issues nothing', async () => {
    const leaf = await a.authority('leaf', { isCa: false, uris: [id] })
    const { cert } = await leaf.issue('x', { uris: [id] })
    expect(() => verify([cert, leaf.cert])).toThrow(refusal('not issued'))
  })

  test('one that has expired, one of another domain', async () => {
    const old = await below({ notAfter: new Date(Date.now() - 1_000) })
    const { cert } = await old.issue('x', { uris: [id] })
    expect(() => verify([cert, old.cert])).toThrow(refusal('expired'))
    const other = await below({ uris: ['spiffe://b.example'] })
    const { cert: second } = await other.issue('x', { uris: [id] })
    expect(() => verify([second, other.cert])).toThrow(refusal('another trust domain'))
  })

  test('an authority of another domain under the same name and key', async () => {
    const twin = await b.crossSigned(a)
    const { cert } = await a.issue('x', { uris: [id] })
    expect(() => verify([cert, twin])).toThrow(refusal('more than one authority'))
  })
})

describe('revocation lists', () => {
  const listed = (list: string) => new Map([['a.example', bundleOf([a], list)]])

  test('what is on it is refused, what is not is taken until the next one', async () => {
    const [good, bad] = [await a.issue('good', { uris: [id] }), await a.issue('bad', { uris: [id] })]
    const next = new Date((Math.floor(Date.now() / 1_000) + 30) * 1_000)
    const of = listed(await a.revocationList([bad.serial], next))
    expect(verify([good.cert], of).validUntilMs).toBe(next.getTime())
    expect(() => verify([bad.cert], of)).toThrow(refusal('revoked'))
    expect(() => verify([good.cert], of, next.getTime())).toThrow(refusal('out of date'))
  })

  test('a list of another issuer says nothing, and so refuses', async () => {
    const impostor = await TestAuthority.create('a')
    const { cert } = await a.issue('x', { uris: [id] })
    const of = listed(await impostor.revocationList([]))
    expect(() => verify([cert], of)).toThrow(refusal('no revocation list'))
  })

  test('an intermediate that was taken back', async () => {
    const intermediate = await a.authority('intermediate')
    const { cert } = await intermediate.issue('x', { uris: [id] })
    const of = listed((await a.revocationList([intermediate.serial])) + (await intermediate.revocationList([])))
    expect(() => verify([cert, intermediate.cert], of)).toThrow(refusal('revoked'))
  })
})
