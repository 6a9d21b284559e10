// No credentials, no answer: every route and method over HTTP, as the OpenAPI document has them (which openapi.test.ts holds to the
// routes that there are), and every method over gRPC.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Client, credentials, loadPackageDefinition, status } from '@grpc/grpc-js'
import { loadSync, type MethodDefinition } from '@grpc/proto-loader'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { call, definitions, follow, grpcClient, stream } from '../support/grpc.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

/** What says nothing but whether the process lives and can answer. */
const open = ['/health', '/healthz', '/readyz']
const { paths } = JSON.parse(readFileSync(join(import.meta.dirname, '../../schemas/openapi.json'), 'utf8')) as {
  paths: Record<string, Record<string, unknown>>
}
const routes = Object.entries(paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => [method.toUpperCase(), path] as const),
)
const token = 'token-of-pep-0123456789012'

let service: TestService
beforeAll(async () => {
  const callers = [{ id: 'pep', tokenFile: `${tempFolder({ token })}/token`, roles: ['decide'] }]
  const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' }
  service = await startTestService(policy, { 'authentication.callers': callers })
})
const clients: Client[] = []
afterAll(async () => {
  for (const client of clients) client.close()
  await service.service.close()
})

const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
  fetch(`${service.url}${path.replaceAll(/\{\w+\}/g, 'x')}`, {
    method,
    headers: { ...(method !== 'GET' && { 'content-type': 'application/json' }), ...headers },
    ...(method !== 'GET' && method !== 'DELETE' && { body: '{}' }),
  })

test('there are routes to look at', () => expect(routes.length).toBeGreaterThan(40))

test.each(routes)('%s %s', async (method, path) => {
  const answer = await ask(method, path)
  await answer.body?.cancel()
  if (open.includes(path)) expect(answer.status).toBe(200)
  // What gateways ask is denied in their own words.
  else if (path.startsWith('/v1/auth')) expect([401, 403]).toContain(answer.status)
  else expect(answer.status).toBe(401)
})

test('a caller of the one scope is nobody in the other', async () => {
  const headers = { authorization: `Bearer ${token}` }
  const admin = routes.filter(([, path]) => /^\/v1\/(?:info|bundles|acts|events|status|config)|^\/docs/.test(path))
  expect(admin.length).toBeGreaterThan(15)
  for (const [method, path] of admin) {
    const answer = await ask(method, path, headers)
    await answer.body?.cancel()
    expect([path, answer.status]).toEqual([path, 403])
  }
})

const services = Object.entries(definitions).filter(([, definition]) => !('format' in definition))
const methods = services.flatMap(([name, definition]) =>
  Object.values(definition as Record<string, MethodDefinition<object, object>>).map(
    ({ originalName = '', requestStream, responseStream }) =>
      [name, originalName, requestStream ? stream : responseStream ? follow : call] as const,
  ),
)

test.each(methods)('%s/%s', async (name, method, ask) => {
  const client = grpcClient(service.grpcAddress, name)
  // Health says nothing else than /healthz.
  if (name === 'grpc.health.v1.Health') return expect((await call(client, 'Check', {})).code).toBe(status.OK)
  const outcome = await ask(client, method, (ask === stream ? [{}] : {}) as never)
  if (name !== 'envoy.service.auth.v3.Authorization') return expect(outcome.code).toBe(status.UNAUTHENTICATED)
  expect((outcome as { message: { status: { code: number } } }).message.status.code).toBe(status.PERMISSION_DENIED)
})

function reflectionClient() {
  const folder = join(import.meta.dirname, '../../node_modules/@grpc/reflection/build/proto')
  const loaded = loadPackageDefinition(loadSync('grpc/reflection/v1/reflection.proto', { includeDirs: [folder], keepCase: true }))
  // biome-ignore lint/suspicious/noExplicitAny: what the library loads
  const client = new (loaded as any).grpc.reflection.v1.ServerReflection(service.grpcAddress, credentials.createInsecure())
  clients.push(client)
  return client
}

test('reflection', async () => {
  const asked = await stream(reflectionClient(), 'ServerReflectionInfo', [{ list_services: '' }])
  expect(asked.code).toBe(status.UNAUTHENTICATED)
  const headers = { authorization: `Bearer ${token}` }
  const known = await stream(reflectionClient(), 'ServerReflectionInfo', [{ list_services: '' }], headers)
  expect(known.code).toBe(status.OK)
})
