// Bundles from a server: fetched once, asked for by ETag, held open, and every way in which a server can fail leaves what is active.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, Server as SecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from '@jest/globals'
import { type PullOptions, pull } from '../../src/bundles/pull.ts'
import { admin, archiveOf } from '../support/bundles.ts'
import { TestAuthority } from '../support/certificates.ts'
import { question, startTestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { until } from '../support/until.ts'

const closers: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closers) await close()
})

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  return serveWith(createServer(answer))
}

async function serveWith(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return `${server instanceof SecureServer ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}/bundle.tar.gz`
}

const quick = { minDelayMs: 10, maxDelayMs: 40, timeoutMs: 300, longPollMs: 0, maxBytes: 100_000 }

interface Outcome {
  readonly taken: string[]
  readonly errors: string[]
}

/** What is taken and what fails until it is enough. */
async function run(options: Partial<PullOptions> & { url: string }, isEnough: (outcome: Outcome) => boolean): Promise<Outcome> {
  const taken: string[] = []
  const errors: string[] = []
  const puller = pull(
    { ...quick, ...options },
    async (archive) => void taken.push(archive.toString()),
    ({ message }) => errors.push(message.replace(/`.*?`/, 'it')),
  )
  await until(10_000, () => isEnough({ taken, errors }))
  await puller.close()
  return { taken, errors }
}

test('what is new is taken once, by its ETag, with the token of the file', async () => {
  const seen: (string | undefined)[] = []
  const url = await serve(({ headers }, response) => {
    seen.push(headers['if-none-match'], headers.authorization)
    if (headers['if-none-match'] === '"1"') return response.writeHead(304).end()
    return response.writeHead(200, { etag: '"1"' }).end('archive')
  })
  const { taken, errors } = await run({ url, tokenFile: `${tempFolder({ token: 'secret\n' })}/token` }, () => seen.length > 8)
  expect([taken, errors, seen.slice(0, 4)]).toEqual([['archive'], [], [undefined, 'Bearer secret', '"1"', 'Bearer secret']])
})

test('an archive that is not taken is asked for again', async () => {
  const url = await serve((request, response) => {
    response.writeHead(request.headers['if-none-match'] ? 304 : 200, { etag: '"1"' }).end('archive')
  })
  let calls = 0
  const puller = pull(
    { ...quick, url },
    async () => {
      calls++
      throw new Error('not now')
    },
    () => {},
  )
  await until(10_000, () => calls > 2)
  await puller.close()
})

test('a server that holds requests open is asked again at once', async () => {
  let version = 1
  let requests = 0
  const url = await serve(async (request, response) => {
    requests++
    expect(request.headers.prefer).toBe('modes=snapshot;wait=1')
    const etag = `"${version}"`
    if (request.headers['if-none-match'] === etag) {
      await sleep(100)
      if (request.headers['if-none-match'] === `"${version}"`)
        return response.writeHead(304, { 'content-type': 'application/vnd.openpolicyagent.bundles' }).end()
    }
    return response
      .writeHead(200, { etag: `"${version}"`, 'content-type': 'application/vnd.openpolicyagent.bundles' })
      .end(`archive ${version}`)
  })
  setTimeout(() => version++, 150)
  const { taken } = await run({ url, longPollMs: 1_000, minDelayMs: 10_000, maxDelayMs: 10_000 }, (outcome) => outcome.taken.length === 2)
  expect(taken).toEqual(['archive 1', 'archive 2'])
  expect(requests).toBeLessThan(10)
})

describe('failures are told, and tried again', () => {
  test.each([
    ['404', (_, response) => response.writeHead(404).end(), 'the status is 404'],
    ['500', (_, response) => response.writeHead(500).end(), 'the status is 500'],
    ['a redirect', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'it redirects'],
    ['304 where nothing is known', (_, response) => response.writeHead(304).end(), 'it says that nothing has changed'],
    ['a connection that breaks', (request) => request.socket.destroy(), 'it fails'],
    [
      'a byte now and then',
      (_, response) => {
        response.writeHead(200)
        const timer = setInterval(() => response.write('x'), 50)
        response.on('close', () => clearInterval(timer))
      },
      'it took too long',
    ],
    [
      'fewer bytes than it says',
      (_, response) => response.writeHead(200, { 'content-length': '100' }).end('x', () => response.destroy()),
      'fails',
    ],
    ['too many bytes', (_, response) => response.writeHead(200).end(Buffer.alloc(200_000)), 'more than'],
  ] as [string, (request: IncomingMessage, response: ServerResponse) => void, string][])('%s', async (_what, answer, said) => {
    const { taken, errors } = await run({ url: await serve(answer) }, (outcome) => outcome.errors.length > 1)
    expect(taken).toEqual([])
    expect(errors[0]).toContain(said)
  })
})

describe('over TLS', () => {
  const authority = TestAuthority.create()
  const secure = async (isNameRight = true) => {
    const server = await (await authority).issue('server', isNameRight ? { ips: ['127.0.0.1'] } : { dns: ['other.example'] })
    const options = { ...server, ca: (await authority).cert, requestCert: true, rejectUnauthorized: true }
    return serveWith(createSecureServer(options, (_, response) => response.writeHead(200, { etag: '"1"' }).end('archive')))
  }
  const files = async () => {
    const client = await (await authority).issue('pdp')
    const folder = tempFolder({ ca: (await authority).cert, cert: client.cert, key: client.key })
    return { caFile: `${folder}/ca`, certFile: `${folder}/cert`, keyFile: `${folder}/key` }
  }

  test('both sides know each other by certificates', async () => {
    const { taken, errors } = await run(
      { url: await secure(), tls: await files() },
      (outcome) => outcome.taken.length + outcome.errors.length > 0,
    )
    expect([taken[0], errors]).toEqual(['archive', []])
  })

  test('a server of another name, of another authority, or one that wants a certificate: nothing is taken', async () => {
    const tls = await files()
    const other = `${tempFolder({ ca: (await TestAuthority.create()).cert })}/ca`
    for (const refused of [
      { url: await secure(false), tls },
      { url: await secure(), tls: { ...tls, caFile: other } },
      { url: await secure(), tls: { caFile: tls.caFile } },
    ]) {
      const { taken } = await run(refused, ({ errors }) => errors.length > 0)
      expect(taken).toEqual([])
    }
  })
})

test('a service pulls, checks and activates, and serves its last good bundle while the server is away', async () => {
  const archive = await archiveOf({ 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' })
  let isAway = false
  const url = await serve((request, response) => {
    if (isAway) response.writeHead(503).end()
    else if (request.headers['if-none-match'] === '"1"') response.writeHead(304).end()
    else response.writeHead(200, { etag: '"1"' }).end(archive)
  })
  const bundles = [{ name: 'main', pull: { url, minDelayMs: 20, maxDelayMs: 50 } }]
  const service = await startTestService(undefined, { bundles })
  for (let i = 0; i < 100 && (await fetch(`${service.url}/readyz`)).status !== 200; i++) await sleep(50)
  expect((await service.decide(question)).json.decision).toBe(true)
  const [revision] = (await admin(service, 'GET', '/v1/bundles/main')).json.revisions
  expect([revision.origin, revision.pushed_by]).toEqual(['pull', `pull:${new URL(url).host}`])
  await service.stop()
  isAway = true
  const again = await startTestService(undefined, { bundles, state: service.state })
  expect((await again.decide(question)).json.decision).toBe(true)
  await again.stop()
})
