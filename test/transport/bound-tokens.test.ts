// Tokens that are bound to a key: good with it, nobody's without it (RFC 8705; groups D18 and D19).
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { request } from 'node:https'
import { credentials, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { SignJWT } from 'jose'
import { type Issued, TestAuthority } from '../support/certificates.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' }
const issuer = 'https://one.example'
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const authority = await TestAuthority.create('a', ['spiffe://a.example'])
const server = await authority.issue('pdp', { ips: ['127.0.0.1'], dns: ['localhost'] })
const [own, other] = [
  await authority.issue('own', { uris: ['spiffe://a.example/own'] }),
  await authority.issue('other', { uris: ['spiffe://a.example/other'] }),
]
const thumbprint = ({ cert }: Issued) => createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url')

let service: TestService
beforeAll(async () => {
  const files = tempFolder({
    'ca.pem': authority.cert,
    'cert.pem': server.cert,
    'key.pem': server.key,
    'jwks.json': JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] }),
  })
  service = await startTestService(policy, {
    'server.tls': { certFile: `${files}/cert.pem`, keyFile: `${files}/key.pem`, clientCertificates: 'optional' },
    'authentication.trustDomains': [{ name: 'a.example', bundleFile: `${files}/ca.pem` }],
    'authentication.audiences': ['pdp'],
    'authentication.issuers': [{ issuer, jwksFile: `${files}/jwks.json` }],
    'authentication.callers': [{ issuer, roles: ['decide'] }],
  })
})
afterAll(() => service.service.close())

const make = (cnf: unknown) => {
  const iat = Math.floor(Date.now() / 1_000)
  return new SignJWT({ iss: issuer, sub: 's', client_id: 'c', aud: 'pdp', jti: 'j', iat, exp: iat + 60, ...(cnf !== undefined && { cnf }) })
    .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'at+jwt' })
    .sign(privateKey)
}

function ask(token: string, client?: Issued): Promise<number> {
  return new Promise((resolve, reject) => {
    const shown = client === undefined ? {} : { cert: client.cert, key: client.key }
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    const options = { method: 'POST', ca: authority.cert, agent: false as const, headers, ...shown }
    const sent = request(`${service.url}/v1/decide`, options, (response) => {
      response.resume().on('end', () => resolve(response.statusCode as number))
    })
    sent.on('error', reject).end(JSON.stringify(question))
  })
}

test('a token that is bound to a certificate is good over a connection with it, over HTTP and gRPC, and over no other', async () => {
  const token = await make({ 'x5t#S256': thumbprint(own) })
  expect([await ask(token, own), await ask(token, other), await ask(token)]).toEqual([200, 401, 401])
  const grpc = async (client: Issued) => {
    const security = credentials.createSsl(Buffer.from(authority.cert), Buffer.from(client.key), Buffer.from(client.cert))
    const metadata = { authorization: `Bearer ${token}` }
    return (await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService', security), 'Decide', question, metadata)).code
  }
  expect([await grpc(own), await grpc(other)]).toEqual([status.OK, status.UNAUTHENTICATED])
})

test('a token that is bound to nothing is good over any', async () => {
  expect([await ask(await make(undefined), own), await ask(await make(undefined))]).toEqual([200, 200])
})

test.each<[string, unknown]>([
  ['a key for proofs (DPoP) as a bearer token', { jkt: 'x' }],
  ['a key beside the certificate', { 'x5t#S256': thumbprint(own), jkt: 'x' }],
  ['nothing', {}],
  ['text', thumbprint(own)],
  ['a list', [thumbprint(own)]],
  ['null', null],
])('bound to %s: refused', async (_what, cnf) => expect(await ask(await make(cnf), own)).toBe(401))
