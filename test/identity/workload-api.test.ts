// Certificates from a SPIFFE agent: a real server of the Workload API over a Unix socket, a service that lives on it.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { request } from 'node:https'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadPackageDefinition, Server, ServerCredentials, type ServerWritableStream, type ServiceDefinition, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterEach, expect, test } from '@jest/globals'
import { readWorkloadUpdate, splitCertificates } from '../../src/identity/workload-messages.ts'
import { type Issued, TestAuthority } from '../support/certificates.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.trusted.caller.spiffe_id != ""\n' }
const loaded = loadPackageDefinition(loadSync(join(import.meta.dirname, '../support/spiffe/workload.proto'), { keepCase: true }))
const derOf = (pem: string) => new X509Certificate(pem).raw

interface Response {
  readonly svids?: object[]
  readonly crl?: Buffer[]
  readonly federated_bundles?: Record<string, Buffer>
}

/** An agent; `say` tells its clients something new, `undefined` takes their identity away. */
class Agent {
  readonly socket = join(tempFolder(), 'agent.sock')
  readonly seen: (string | undefined)[] = []
  #last: Response | undefined
  #streams = new Set<ServerWritableStream<object, Response>>()
  #server: Server | undefined

  async start(first: Response): Promise<void> {
    this.#last = first
    this.#server = new Server()
    // biome-ignore lint/suspicious/noExplicitAny: what the library loads
    const { service } = (loaded as any).SpiffeWorkloadAPI as { service: ServiceDefinition }
    this.#server.addService(service, {
      FetchX509SVID: (call: ServerWritableStream<object, Response>) => {
        this.seen.push(call.metadata.get('workload.spiffe.io')[0]?.toString())
        if (this.#last === undefined) return call.emit('error', { code: status.PERMISSION_DENIED, details: 'no identity issued' })
        this.#streams.add(call)
        call.on('cancelled', () => this.#streams.delete(call))
        call.write(this.#last)
      },
    })
    await new Promise<void>((resolve, reject) =>
      this.#server?.bindAsync(`unix:${this.socket}`, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())),
    )
  }

  say(response: Response | undefined): void {
    this.#last = response
    for (const stream of this.#streams) {
      if (response === undefined) stream.emit('error', { code: status.PERMISSION_DENIED, details: 'no identity issued' })
      else stream.write(response)
    }
    if (response === undefined) this.#streams.clear()
  }

  stop(): void {
    this.#streams.clear()
    this.#server?.forceShutdown()
  }
}

const agents: Agent[] = []
const services: TestService[] = []
afterEach(async () => {
  for (const service of services.splice(0)) await service.service.close()
  for (const agent of agents.splice(0)) agent.stop()
})

const svid = (id: string, { cert, key }: Issued, bundle: TestAuthority) => ({
  spiffe_id: id,
  x509_svid: derOf(cert),
  x509_svid_key: createPrivateKey(key).export({ type: 'pkcs8', format: 'der' }),
  bundle: derOf(bundle.cert),
})
const gateway = 'spiffe://a.example/gateway'
const other = 'spiffe://b.example/gateway'

async function setUp() {
  const [a, b] = [await TestAuthority.create('a'), await TestAuthority.create('b')]
  const own = (authority = a) => authority.issue('pdp', { uris: ['spiffe://a.example/pdp'], ips: ['127.0.0.1'] })
  const say = async (more: Partial<Response> = {}, authority = a): Promise<Response> => ({
    svids: [svid('spiffe://a.example/pdp', await own(authority), authority)],
    federated_bundles: { 'spiffe://b.example': derOf(b.cert) },
    ...more,
  })
  const agent = new Agent()
  agents.push(agent)
  await agent.start(await say())
  const service = await startTestService(policy, {
    'server.tls': { workloadApi: `unix://${agent.socket}` },
    'authentication.trustDomains': [{ name: 'a.example' }, { name: 'b.example' }],
    'authentication.callers': [
      { spiffeId: gateway, roles: ['decide'] },
      { spiffeId: other, roles: ['decide'] },
    ],
  })
  services.push(service)
  return { a, b, agent, service, say }
}

function ask({ url }: TestService, client: Issued, ca: string): Promise<number | string> {
  return new Promise((resolve) => {
    const options = { method: 'POST', ca, cert: client.cert, key: client.key, agent: false as const }
    const sent = request(`${url}/v1/decide`, { ...options, headers: { 'content-type': 'application/json' } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode as number))
    })
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    sent.end(JSON.stringify(question))
  })
}

test('the service’s certificate and the authorities of its own and of other domains come from the agent, and are what it said last', async () => {
  const { a, b, agent, service, say } = await setUp()
  expect(agent.seen).toEqual(['true'])
  const [ofA, ofB] = [await a.issue('x', { uris: [gateway] }), await b.issue('x', { uris: [other] })]
  expect([await ask(service, ofA, a.cert), await ask(service, ofB, a.cert)]).toEqual([200, 200])
  // What is not named any longer is over; so is what was named by another authority.
  agent.say(await say({ federated_bundles: {} }))
  await sleep(500)
  expect([await ask(service, ofA, a.cert), typeof (await ask(service, ofB, a.cert))]).toEqual([200, 'string'])
  const next = await TestAuthority.create('next')
  agent.say(await say({}, next))
  await sleep(500)
  const ofNext = await next.issue('x', { uris: [gateway] })
  expect([typeof (await ask(service, ofA, a.cert)), await ask(service, ofNext, next.cert)]).toEqual(['string', 200])
  // A list takes back what its authority issued.
  const pem = await next.revocationList([ofNext.serial])
  agent.say(await say({ crl: [Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64')] }, next))
  await sleep(500)
  expect(typeof (await ask(service, ofNext, next.cert))).toBe('string')
})

test('an agent that is silent or away leaves what it said, one that takes the identity back ends everything, until it gives one again', async () => {
  const { a, agent, service, say } = await setUp()
  const client = await a.issue('x', { uris: [gateway] })
  agent.say({ svids: [svid('spiffe://a.example/pdp', await a.issue('x'), a)].map((one) => ({ ...one, x509_svid: Buffer.from('no') })) })
  await sleep(300)
  expect(await ask(service, client, a.cert)).toBe(200)
  agent.say(undefined)
  await sleep(500)
  expect(typeof (await ask(service, client, a.cert))).toBe('string')
  agent.say(await say())
  await sleep(3_000)
  expect(await ask(service, client, a.cert)).toBe(200)
  agent.stop()
  await sleep(500)
  expect(await ask(service, client, a.cert)).toBe(200)
}, 20_000)

test('without an identity the service does not start, and says why', async () => {
  const agent = new Agent()
  agents.push(agent)
  await agent.start({ svids: [] })
  const tls = { 'server.tls': { workloadApi: agent.socket }, 'authentication.trustDomains': [{ name: 'a.example' }] }
  await expect(startTestService(policy, tls)).rejects.toMatchObject({
    code: 'ERR_CONFIG_INVALID',
    message: expect.stringContaining('no identity'),
  })
})

test('messages that are cut off are refused, fields that are not known are passed over', async () => {
  const authority = await TestAuthority.create('a')
  const row = Buffer.concat([derOf(authority.cert), derOf(authority.cert)])
  expect(splitCertificates(row)).toHaveLength(2)
  for (let cut = 1; cut < row.length; cut += 7)
    if (cut !== row.length / 2) expect(() => splitCertificates(row.subarray(0, cut))).toThrow(RangeError)
  expect(readWorkloadUpdate(Buffer.from([0x42, 1, 65, 0x48, 7, 0x12, 2, 1, 2]))).toMatchObject({ svids: [], lists: [expect.anything()] })
  expect(() => readWorkloadUpdate(Buffer.from([0x0a, 9, 1]))).toThrow()
})
