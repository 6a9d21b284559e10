// Certificates on both transports: who is let in, as whom, and for how long (groups E and A8, section 5 of docs/design.md).
import { renameSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { credentials, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Issued, type LeafOptions, TestAuthority } from '../support/certificates.ts'
import { call, grpcClient, stream } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": startswith(input.trusted.caller.spiffe_id, "spiffe://a.example/"), "context": {"caller": input.trusted.caller}}
`,
}
const gateway = 'spiffe://a.example/ns/prod/gateway'
const agents: Agent[] = []
afterAll(() => {
  for (const agent of agents) agent.destroy()
})

/** Files of a service with its authorities, to be changed while it runs. */
class Setup {
  readonly folder = tempFolder({ 'ann.token': 'token-of-ann-0123456789012' })
  readonly a: TestAuthority
  readonly b: TestAuthority

  constructor(a: TestAuthority, b: TestAuthority) {
    this.a = a
    this.b = b
  }

  static async create(): Promise<Setup> {
    const setup = new Setup(
      await TestAuthority.create('a', ['spiffe://a.example']),
      await TestAuthority.create('b', ['spiffe://b.example']),
    )
    await setup.writeServer()
    setup.write('a.pem', setup.a.cert)
    setup.write('b.pem', setup.b.cert)
    setup.write('a.crl', await setup.a.revocationList([]))
    return setup
  }

  /** As a whole, as tools do that deliver certificates. */
  write(name: string, text: string): void {
    writeFileSync(`${this.folder}/${name}.new`, text)
    renameSync(`${this.folder}/${name}.new`, `${this.folder}/${name}`)
  }

  async writeServer(): Promise<void> {
    const { cert, key } = await this.a.issue('pdp', { ips: ['127.0.0.1'], dns: ['localhost'] })
    this.write('key.pem', key)
    this.write('cert.pem', cert)
  }

  start(more: Record<string, unknown> = {}, tls: object = {}): Promise<TestService> {
    const file = (name: string) => `${this.folder}/${name}`
    return startTestService(policy, {
      'server.tls': { certFile: file('cert.pem'), keyFile: file('key.pem'), ...tls },
      'authentication.trustDomains': [
        { name: 'a.example', bundleFile: file('a.pem'), crlFile: file('a.crl') },
        { name: 'b.example', bundleFile: file('b.pem') },
      ],
      'authentication.callers': [
        { spiffeId: gateway, roles: ['decide'] },
        { spiffeId: 'spiffe://b.example/ops/*', roles: ['push', 'audit'] },
        { id: 'ann', tokenFile: file('ann.token'), roles: ['decide', 'audit'] },
      ],
      ...more,
    })
  }
}

type Client = Partial<Pick<Issued, 'cert' | 'key'>>
interface Answer {
  readonly status: number
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  readonly json: any
}

/** One request; a connection that is refused is told by its error's code. */
function ask(
  { url }: TestService,
  { a }: Setup,
  client: Client,
  { path = '/v1/decide', headers = {}, agent, method = 'POST' }: { path?: string; headers?: object; agent?: Agent; method?: string } = {},
): Promise<Answer | string> {
  return new Promise((resolve) => {
    const sent = request(
      `${url}${path}`,
      { method, ca: a.cert, ...client, headers: { 'content-type': 'application/json', ...headers }, agent: agent ?? false },
      async (response) => {
        let text = ''
        for await (const chunk of response) text += chunk
        resolve({ status: response.statusCode as number, text, json: text.startsWith('{') ? JSON.parse(text) : {} })
      },
    )
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    sent.end(method === 'GET' ? undefined : JSON.stringify(question))
  })
}

const decisions = (service: TestService, { a }: Setup, client: Client) => {
  const [cert, key] = [client.cert, client.key].map((text) => (text === undefined ? null : Buffer.from(text)))
  const security = credentials.createSsl(Buffer.from(a.cert), key ?? null, cert ?? null)
  return grpcClient(service.grpcAddress, 'verdict.v1.DecisionService', security)
}
const refused = (answer: Answer | string) => typeof answer === 'string'

describe('who is let in', () => {
  let setup: Setup
  let service: TestService
  let good: Issued
  beforeAll(async () => {
    setup = await Setup.create()
    service = await setup.start()
    good = await setup.a.issue('gateway', { uris: [gateway] })
  })
  afterAll(() => service.stop())

  test('a workload, over HTTP and over gRPC, and the policy sees who it is', async () => {
    const answer = await ask(service, setup, good)
    const caller = { authenticated: true, id: gateway, spiffe_id: gateway, address: '127.0.0.1' }
    expect(answer).toMatchObject({ status: 200, json: { decision: true, context: { caller } } })
    const { code, message } = await call(decisions(service, setup, good), 'Decide', question)
    expect([code, JSON.parse(message.decision.context_json).caller]).toEqual([status.OK, caller])
    const batch = await stream(decisions(service, setup, good), 'DecideBatch', [question], { 'verdict-session': '1' })
    expect(JSON.parse(batch.messages[0].decisions[0].context_json).caller).toEqual(caller)
  })

  test('metrics tell when the certificate and the authorities expire', async () => {
    const ops = await setup.b.issue('x', { uris: ['spiffe://b.example/ops/x'] })
    const { text } = (await ask(service, setup, ops, { path: '/metrics', method: 'GET' })) as Answer
    const left = (name: string) => Number(new RegExp(`^verdict_${name} ([\\d.]+)$`, 'm').exec(text)?.[1])
    const day = expect.closeTo(86_400, -3)
    expect(['a', 'b'].map((name) => left(`authorities_expire_in_seconds\\{trust_domain="${name}.example"\\}`))).toEqual([day, day])
    expect(left('certificate_expires_in_seconds')).toBeGreaterThan(0)
  })

  test('fields that other gateways put identities into are nothing here', async () => {
    const other = await setup.b.issue('x', { uris: ['spiffe://b.example/x'] })
    const headers = { 'x-spiffe-id': gateway, 'x-forwarded-client-cert': `URI=${gateway}`, 'verdict-session': '1' }
    expect(await ask(service, setup, other, { headers })).toMatchObject({ status: 403 })
    const metadata = { 'x-spiffe-id': gateway, 'verdict-session': '1' }
    expect((await call(decisions(service, setup, other), 'Decide', question, metadata)).code).toBe(status.PERMISSION_DENIED)
    expect((await stream(decisions(service, setup, other), 'DecideBatch', [question], metadata)).code).toBe(status.PERMISSION_DENIED)
  })

  test.each<[string, 'a' | 'b', LeafOptions]>([
    ['no SPIFFE ID', 'a', {}],
    ['two', 'a', { uris: [gateway, 'spiffe://a.example/x'] }],
    ['another domain than the issuer’s, both trusted', 'b', { uris: [gateway] }],
    ['an unknown domain', 'a', { uris: ['spiffe://c.example/x'] }],
    ['expired', 'a', { uris: [gateway], notAfter: new Date(Date.now() - 1_000) }],
    ['not valid yet', 'a', { uris: [gateway], notBefore: new Date(Date.now() + 600_000) }],
    ['for servers only', 'a', { uris: [gateway], forClient: false }],
    ['an authority', 'a', { uris: [gateway], isCa: true }],
    ['an extension that nobody knows, marked as critical', 'a', { uris: [gateway], extensions: { '1.2.3.4.5': Buffer.from([5, 0]) } }],
  ])('%s: no request of it is answered', async (_what, authority, options) => {
    const client = await setup[authority].issue('x', options)
    expect(refused(await ask(service, setup, client))).toBe(true)
    expect((await call(decisions(service, setup, client), 'Decide', question)).code).toBe(status.UNAVAILABLE)
  })

  test('an authority that may vouch for other names only', async () => {
    // Permitted: URIs of the host other.example (RFC 5280 §4.2.1.10).
    const name = Buffer.from('other.example')
    const tree = Buffer.concat([Buffer.from([0x30, name.length + 2, 0x86, name.length]), name])
    const constraint = Buffer.concat([Buffer.from([0x30, tree.length + 2, 0xa0, tree.length]), tree])
    const limited = await setup.a.authority('limited', { extensions: { '2.5.29.30': constraint } })
    const free = await setup.a.authority('free')
    const client = async (authority: TestAuthority) => {
      const { cert, key } = await authority.issue('x', { uris: [gateway] })
      return { cert: `${cert}\n${authority.cert}`, key }
    }
    // Lists of intermediates are asked for, too.
    setup.write('a.crl', (await setup.a.revocationList([])) + (await limited.revocationList([])) + (await free.revocationList([])))
    setup.write('a.pem', [setup.a, limited, free].map(({ cert }) => cert).join('\n'))
    await sleep(500)
    expect(await ask(service, setup, await client(free))).toMatchObject({ status: 200 })
    expect(refused(await ask(service, setup, await client(limited)))).toBe(true)
  })

  test('no certificate, and one of nobody’s', async () => {
    const stranger = await (await TestAuthority.create('a')).issue('x', { uris: [gateway] })
    for (const client of [{}, stranger]) {
      expect(refused(await ask(service, setup, client))).toBe(true)
      expect((await call(decisions(service, setup, client), 'Decide', question)).code).toBe(status.UNAVAILABLE)
    }
  })

  test('each scope asks for its roles; a token beside a certificate is who calls, and must be good', async () => {
    const ops = await setup.b.issue('ops', { uris: ['spiffe://b.example/ops/eve'] })
    expect(await ask(service, setup, ops)).toMatchObject({ status: 403, json: { error: { code: 'ERR_FORBIDDEN' } } })
    expect(await ask(service, setup, ops, { path: '/v1/acts', method: 'GET' })).toMatchObject({ status: 200 })
    expect(await ask(service, setup, good, { path: '/v1/acts', method: 'GET' })).toMatchObject({ status: 403 })
    const headers = { authorization: 'Bearer token-of-ann-0123456789012' }
    expect(await ask(service, setup, good, { path: '/v1/acts', method: 'GET', headers })).toMatchObject({ status: 200 })
    expect(await ask(service, setup, ops, { headers })).toMatchObject({ status: 200, json: { decision: false } })
    expect(await ask(service, setup, good, { headers: { authorization: 'Bearer wrong' } })).toMatchObject({ status: 401 })
    expect(await ask(service, setup, good, { headers: { authorization: 'Basic YTpi' } })).toMatchObject({ status: 401 })
  })

  test('what became of handshakes and requests is counted by its reason', () => {
    const { handshakes, requests } = service.service.info.callers
    expect([handshakes.accepted, handshakes.ERR_CERTIFICATE_REFUSED].every((count) => (count ?? 0) > 5)).toBe(true)
    expect(
      [requests.certificate, requests.token, requests.ERR_UNAUTHENTICATED, requests.ERR_FORBIDDEN].every((count) => (count ?? 0) > 0),
    ).toBe(true)
  })

  test('TLS 1.2 is not spoken, sessions are not resumed', async () => {
    const { hostname, port } = new URL(service.url)
    const open = (options: object) =>
      new Promise<TLSSocket | string>((resolve) => {
        const socket = connectTls({ host: hostname, port: Number(port), ca: setup.a.cert, ...good, ...options }, () => resolve(socket))
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
      })
    expect(await open({ maxVersion: 'TLSv1.2' })).toMatch(/ERR_SSL|ECONNRESET/)
    const first = (await open({})) as TLSSocket
    const session = await Promise.race([new Promise<Buffer>((resolve) => first.once('session', resolve)), sleep(300)])
    const second = (await open({ session: session || first.getSession() })) as TLSSocket
    expect([first.getProtocol(), second.isSessionReused()]).toEqual(['TLSv1.3', false])
    first.destroy()
    second.destroy()
  })
})

test('where certificates are optional, a token does; a certificate that is shown must be good', async () => {
  const setup = await Setup.create()
  const service = await setup.start({}, { clientCertificates: 'optional', minVersion: 'TLSv1.2' })
  const headers = { authorization: 'Bearer token-of-ann-0123456789012' }
  expect(await ask(service, setup, {}, { headers })).toMatchObject({ status: 200 })
  expect(await ask(service, setup, {})).toMatchObject({ status: 401 })
  expect((await call(decisions(service, setup, {}), 'Decide', question)).code).toBe(status.UNAUTHENTICATED)
  const stranger = await (await TestAuthority.create('a')).issue('x', { uris: [gateway] })
  expect(refused(await ask(service, setup, stranger, { headers }))).toBe(true)
  // What only OpenSSL looks at counts here, too: nobody is let in whose chain it refused.
  const serverOnly = await setup.a.issue('gateway', { uris: [gateway], forClient: false })
  expect(refused(await ask(service, setup, serverOnly, { headers }))).toBe(true)
  const good = await setup.a.issue('gateway', { uris: [gateway] })
  expect(await ask(service, setup, good)).toMatchObject({ status: 200, json: { decision: true } })
  await service.stop()
})

describe('an identity that is over ends its connections within a second', () => {
  const standing = (setup: Setup, client: Client) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: setup.a.cert, ...client })
    agents.push(agent)
    return agent
  }

  test.each<[string, LeafOptions, (setup: Setup, client: Issued) => Promise<void>]>([
    ['taken back', {}, async (setup, { serial }) => setup.write('a.crl', await setup.a.revocationList([serial]))],
    ['its authority removed', {}, async (setup) => setup.write('a.pem', (await TestAuthority.create('new')).cert)],
    ['its trust bundle emptied', {}, async (setup) => setup.write('a.pem', '')],
    ['expired', { notAfter: new Date(Date.now() + 3_000) }, async () => sleep(2_500)],
  ])('%s', async (_what, options, end) => {
    const setup = await Setup.create()
    const service = await setup.start()
    const client = await setup.a.issue('gateway', { uris: [gateway], ...options, ...(options.notAfter && { notAfter: soon() }) })
    const other = await setup.b.issue('ops', { uris: ['spiffe://b.example/ops/eve'] })
    const [agent, otherAgent] = [standing(setup, client), standing(setup, other)]
    const grpc = decisions(service, setup, client)
    expect(await ask(service, setup, client, { agent })).toMatchObject({ status: 200 })
    const path = { path: '/v1/acts', method: 'GET' }
    expect(await ask(service, setup, other, { ...path, agent: otherAgent })).toMatchObject({ status: 200 })
    const batch = grpc.DecideBatch()
    const ended = new Promise((resolve) => batch.on('status', resolve).on('error', () => {}))
    batch.on('data', () => {})
    expect((await call(grpc, 'Decide', question)).code).toBe(status.OK)
    await end(setup, client)
    await sleep(1_000)
    expect(refused(await ask(service, setup, client, { agent }))).toBe(true)
    expect(refused(await ask(service, setup, client))).toBe(true)
    expect((await call(grpc, 'Decide', question)).code).toBe(status.UNAVAILABLE)
    await ended
    // Others are not touched.
    expect(await ask(service, setup, other, { ...path, agent: otherAgent })).toMatchObject({ status: 200 })
    await service.stop()
  })

  /** Whole seconds are what certificates know. */
  function soon(): Date {
    return new Date((Math.floor(Date.now() / 1_000) + 3) * 1_000)
  }

  test('half a file, and a key that does not fit, change nothing', async () => {
    const setup = await Setup.create()
    const service = await setup.start()
    const client = await setup.a.issue('gateway', { uris: [gateway] })
    setup.write('a.pem', setup.a.cert.slice(0, 200))
    setup.write('key.pem', (await setup.a.issue('x')).key)
    await sleep(600)
    expect(await ask(service, setup, client)).toMatchObject({ status: 200 })
    expect(service.logged.filter(({ code }) => code === 'ERR_CONFIG_INVALID').length).toBeGreaterThan(0)
    await service.stop()
  })
})
