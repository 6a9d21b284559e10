// Trust bundles in files: PEM, and SPIFFE's own JSON (group E8).
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { TrustDomains } from '../../src/identity/trust-domains.ts'
import { TestAuthority } from '../support/certificates.ts'
import { tempFolder } from '../support/temp-folder.ts'

const [one, two] = [await TestAuthority.create('one'), await TestAuthority.create('two')]
const derOf = ({ cert }: TestAuthority) => new X509Certificate(cert).raw.toString('base64')
const id = 'spiffe://a.example/x'
const bundleFile = `${tempFolder()}/bundle.json`
const leafOf = async (authority: TestAuthority) => [new X509Certificate((await authority.issue('x', { uris: [id] })).cert)]

test('keys for X.509 count by their first certificate, all others say nothing; none at all: nobody is believed', async () => {
  const [ofOne, ofTwo] = [await leafOf(one), await leafOf(two)]
  const write = (...keys: object[]) => writeFileSync(bundleFile, JSON.stringify({ keys }))
  const believed = (domains: TrustDomains) =>
    [ofOne, ofTwo].map((chain) => {
      try {
        return domains.verify(chain, Date.now()).id.text
      } catch {
        return undefined
      }
    })
  write({ kty: 'EC', use: 'x509-svid', x5c: [derOf(one)] })
  const domains = new TrustDomains([{ name: 'a.example', bundleFile }])
  expect(believed(domains)).toEqual([id, undefined])
  for (const key of [
    { use: 'x509-svid', x5c: [derOf(one), derOf(two)] },
    { use: 'x509-svid', x5c: [derOf(one)], other: 1 },
  ]) {
    write(
      { kty: 'EC', ...key },
      { kty: 'EC', x5c: [derOf(two)] },
      { kty: 'EC', use: 'enc', x5c: [derOf(two)] },
      { kty: 'EC', use: 'x509-svid' },
    )
    domains.reload()
    expect(believed(domains)).toEqual([id, undefined])
  }
  write()
  domains.reload()
  expect(believed(domains)).toEqual([undefined, undefined])
})

test.each(['{"keys":{}}', '{"keys":[],"keys":[]}', '{', '{"keys":[{"use":"x509-svid","x5c":["AAAA"]}]}'])(
  '%s changes nothing',
  async (text) => {
    writeFileSync(bundleFile, JSON.stringify({ keys: [{ use: 'x509-svid', x5c: [derOf(one)] }] }))
    const domains = new TrustDomains([{ name: 'a.example', bundleFile }])
    writeFileSync(bundleFile, text)
    expect(() => domains.reload()).toThrow(expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }))
    expect(domains.verify(await leafOf(one), Date.now()).id.text).toBe(id)
  },
)

test('what an agent says of other domains takes effect though a file is broken meanwhile', async () => {
  writeFileSync(bundleFile, JSON.stringify({ keys: [] }))
  const domains = new TrustDomains([{ name: 'b.example', bundleFile }, { name: 'a.example' }])
  const chain = await leafOf(one)
  domains.setOthers(new Map([['a.example', { authorities: [new X509Certificate(one.cert)], lists: undefined }]]))
  expect(domains.verify(chain, Date.now()).id.text).toBe(id)
  writeFileSync(bundleFile, '{')
  domains.setOthers(new Map())
  expect(() => domains.verify(chain, Date.now())).toThrow(expect.objectContaining({ code: 'ERR_CERTIFICATE_REFUSED' }))
})

test('a domain has authorities until the last of them expires', async () => {
  const later = await TestAuthority.create('later', [], 7 * 86_400_000)
  writeFileSync(bundleFile, one.cert + later.cert + two.cert)
  const domains = new TrustDomains([{ name: 'a.example', bundleFile }, { name: 'b.example' }])
  const at = (days: number) => [expect.closeTo(Date.now() + days * 86_400_000, -5)]
  expect(domains.expiries()).toEqual([['a.example', ...at(7)]])
  writeFileSync(bundleFile, one.cert)
  domains.reload()
  domains.setOthers(new Map([['b.example', { authorities: [new X509Certificate(later.cert)], lists: undefined }]]))
  expect(domains.expiries()).toEqual([
    ['a.example', ...at(1)],
    ['b.example', ...at(7)],
  ])
})
