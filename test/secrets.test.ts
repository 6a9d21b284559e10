// Secrets are nowhere: tokens and keys of the service, and credentials that clients send, good, wrong or malformed, at every door;
// looked for in every answer, every line of the log, every record and act (group G2).
import { generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { admin } from './support/bundles.ts'
import { call, grpcClient, stream } from './support/grpc.ts'
import { rawRequest } from './support/raw-http.ts'
import { question, startTestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const canary = 'canary7Fq2xW9'
const secret = (name: string) => `${canary}-${name}-0123456789`
const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' }

/** Every file of a folder, as text. */
function filesOf(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile() && !path.endsWith('.token'))
    .map((path) => readFileSync(path, 'latin1'))
    .join('\n')
}

test('no secret is in any answer, log, record, act or state', async () => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const files = tempFolder({
    pep: secret('pep'),
    ops: secret('ops'),
    pull: secret('pull'),
    'hs.key': secret('hmac-key-of-more-than-32-characters'),
    'metadata.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  })
  const service = await startTestService(policy, {
    'log.level': 'debug',
    keys: [{ id: 'hs', algorithm: 'HS256', file: `${files}/hs.key` }],
    'authentication.callers': [
      { id: 'pep', tokenFile: `${files}/pep`, roles: ['decide'] },
      { id: 'ops', tokenFile: `${files}/ops`, roles: ['push', 'audit', 'operate', 'pull'] },
    ],
    'authzen.metadataKeyFile': `${files}/metadata.pem`,
    bundles: [
      { name: 'main', path: tempFolder(policy) },
      { name: 'pulled', pull: { url: 'http://127.0.0.1:1/b.tar.gz', tokenFile: `${files}/pull`, minDelayMs: 50 } },
    ],
  })
  const answers: string[] = []
  const ask = async (path: string, headers: Record<string, string>, body: string | undefined, method = 'POST') => {
    const response = await fetch(`${service.url}${path}`, { method, headers, ...(body !== undefined && { body }) })
    answers.push(JSON.stringify([...response.headers]), path === '/v1/events' ? '' : await response.text())
    return response.status
  }
  const json = { 'content-type': 'application/json' }
  const good = { ...json, authorization: `Bearer ${secret('pep')}` }
  const bodies = [
    JSON.stringify({ ...question, token: secret('subject-token') }),
    `{"subject":"${secret('cut')}`,
    `{"subject":{"type":"${secret('dup')}","type":"x"}}`,
    `\u0000${secret('nul')}`,
  ]
  for (const path of ['/v1/decide', '/access/v1/evaluation', '/access/v1/search/subject', '/v1/compile/p/allow'])
    for (const body of bodies) await ask(path, good, body)
  const credentials = [
    { authorization: `Bearer ${secret('wrong')}` },
    { authorization: `Basic ${secret('basic')}` },
    { authorization: `DPoP ${secret('dpop')}`, dpop: secret('proof') },
    { authorization: secret('bare') },
    { 'x-verdict-authorization': `Bearer ${secret('wrong-pep')}`, cookie: `session=${secret('cookie')}` },
  ]
  const paths = ['/v1/decide', '/v1/data/p/allow', '/v1/info', '/v1/bundles/main', '/v1/auth', '/v1/auth/nginx', '/no-such-route']
  for (const headers of credentials) for (const path of paths) expect(await ask(path, { ...json, ...headers }, '{}')).toBeGreaterThan(400)
  for (const headers of [{ authorization: `Bearer ${secret('ops')}` }])
    for (const path of ['/v1/info', '/v1/config', '/v1/status', '/v1/bundles', '/v1/bundles/main', '/v1/acts', '/docs'])
      expect(await ask(path, headers, undefined, 'GET')).toBe(200)
  // A gateway's own credentials, and those of the request that it asks about.
  const gateway = { 'x-verdict-authorization': `Bearer ${secret('pep')}`, authorization: `Bearer ${secret('subject')}` }
  for (const path of ['/v1/auth', '/v1/auth/traefik'])
    await ask(path, { ...gateway, 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/x', 'x-forwarded-host': 'h' }, undefined, 'GET')
  answers.push(
    JSON.stringify(
      await rawRequest(
        service.url,
        `POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${secret('a')}\r\nAuthorization: Bearer ${secret('b')}\r\nContent-Length: 2\r\n\r\n{}`,
      ),
    ),
  )
  answers.push(JSON.stringify(await rawRequest(service.url, `GET / HTTP/1.1\r\nX-Key ${secret('broken')}\r\n\r\n`)))
  const grpc = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  for (const metadata of [
    { authorization: `Bearer ${secret('grpc')}` },
    { authorization: `Bearer ${secret('pep')}`, dpop: secret('grpc-proof') },
  ]) {
    answers.push(JSON.stringify(await call(grpc, 'Decide', question, metadata)))
    answers.push(JSON.stringify(await stream(grpc, 'DecideBatch', [question], metadata)))
  }
  // What was signed with a secret, and does not verify.
  answers.push(JSON.stringify((await admin(service, 'PUT', '/v1/bundles/other', Buffer.from(secret('archive')), secret('ops'))).json))
  expect(answers.length).toBeGreaterThan(100)
  const records = await service.stop()
  expect(records.length).toBeGreaterThan(5)
  const everything = {
    answers: answers.join('\n'),
    log: JSON.stringify(service.logged),
    records: JSON.stringify(records),
    state: filesOf(service.state),
  }
  for (const [where, text] of Object.entries(everything)) {
    const at = text.indexOf(canary)
    expect([where, at < 0 ? '' : text.slice(Math.max(0, at - 80), at + 60)]).toEqual([where, ''])
  }
})
