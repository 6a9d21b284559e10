// The adapters in real servers of Fastify, Express and gRPC, asking a real service: what it allows goes on, all else ends there.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server as GrpcServer, type handleUnaryCall, ServerCredentials, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import express from 'express'
import fastify from 'fastify'
import { authorize as authorizeExpress } from '../../src/client/express.ts'
import { authorize as authorizeFastify } from '../../src/client/fastify.ts'
import { authorize as authorizeGrpc } from '../../src/client/grpc.ts'
import { type Answer, type Client, createClient, type Question } from '../../src/client/index.ts'
import { call, definitions, grpcClient } from '../support/grpc.ts'
import { readRecords, startTestService, type TestService } from '../support/service.ts'

let service: TestService
let client: Client
beforeAll(async () => {
  service = await startTestService({
    'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.subject.id == "alice", "obligations": ["log"]}\n',
  })
  client = createClient({ urls: [service.url] })
})
const closers: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closers) await close()
})

const question = (user: unknown, path: string): Question | undefined =>
  path === '/open'
    ? undefined
    : { subject: { type: 'user', id: String(user ?? 'nobody') }, action: { name: 'GET' }, resource: { type: 'route', id: path } }

async function recordOf(correlationId: string) {
  await sleep(200)
  return readRecords(`${service.state}/decisions`).find((record) => record.correlation_id === correlationId)
}

async function tryServer(url: string, name: string): Promise<void> {
  const get = async (path: string, user: string, more: Record<string, string> = {}) =>
    (await fetch(`${url}${path}`, { headers: { user, ...more } })).status
  expect([await get('/x', 'alice'), await get('/x', 'bob'), await get('/open', 'bob')]).toEqual([200, 403, 200])
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  await get('/x', 'bob', { 'x-request-id': `of-${name}`, traceparent })
  expect(await recordOf(`of-${name}`)).toMatchObject({
    decision: false,
    trace_id: '0af7651916cd43dd8448eb211c80319c',
    resource: { id: '/x' },
  })
  // What somebody else sent must not break the question.
  expect([await get('/x', 'alice', { 'x-request-id': 'caf\u00e9 x' }), await get('/x', 'bob', { traceparent: 'x'.repeat(5_000) })]).toEqual(
    [200, 403],
  )
}

test('Fastify', async () => {
  const app = fastify()
  const answers: Answer[] = []
  app.addHook(
    'preHandler',
    authorizeFastify(
      client,
      (request: { headers: Readonly<Record<string, unknown>>; url: string }) => question(request.headers.user, request.url),
      (_, answer) => answers.push(answer),
    ),
  )
  app.get('/*', async () => 'in')
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  closers.push(() => app.close())
  await tryServer(url, 'fastify')
  expect(answers[0]?.context.obligations).toEqual(['log'])
})

test('Express', async () => {
  const app = express()
  app.use(authorizeExpress(client, (request: express.Request) => question(request.headers.user, request.path)))
  app.use((_request: express.Request, response: express.Response) => void response.send('in'))
  const server: Server = createServer(app).listen(0, '127.0.0.1')
  closers.push(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  await tryServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'express')
})

test('gRPC', async () => {
  const server = new GrpcServer()
  const health = definitions['grpc.health.v1.Health'] as Parameters<GrpcServer['addService']>[0]
  const Check: handleUnaryCall<unknown, unknown> = (_, done) => done(null, { status: 'SERVING' })
  server.addService(health, {
    Check: authorizeGrpc(client, (one) => question(one.metadata.getMap().user, one.getPath()), Check as never) as never,
    Watch: () => {},
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  closers.push(() => server.forceShutdown())
  const stub = grpcClient(`127.0.0.1:${port}`, 'grpc.health.v1.Health')
  const said = async (user: string) => (await call(stub, 'Check', {}, { user, 'x-request-id': `grpc-${user}` })).code
  expect([await said('alice'), await said('bob')]).toEqual([status.OK, status.PERMISSION_DENIED])
  expect(await recordOf('grpc-bob')).toMatchObject({ resource: { id: '/grpc.health.v1.Health/Check' } })
})

test('without a service nothing goes on', async () => {
  const gone = createClient({ urls: ['http://127.0.0.1:1'], timeoutMs: 100 })
  const app = fastify()
  app.addHook(
    'preHandler',
    authorizeFastify(gone, () => question('alice', '/x')),
  )
  app.get('/x', async () => 'in')
  expect((await app.inject('/x')).statusCode).toBe(403)
  await app.close()
  const broken = fastify()
  broken.addHook(
    'preHandler',
    authorizeFastify(client, () => {
      throw new Error('a mistake of the author')
    }),
  )
  broken.get('/x', async () => 'in')
  expect((await broken.inject('/x')).statusCode).toBe(500)
  await broken.close()
})
