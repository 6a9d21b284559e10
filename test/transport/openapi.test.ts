// The OpenAPI document: valid, complete, and its examples answered as it says.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Validator } from '@seriousme/openapi-schema-validator'
import { pino } from 'pino'
import { listExamples, openapi } from '../../src/transport/http/openapi.ts'
import { createHttpServer, type HttpServerOptions } from '../../src/transport/http/server.ts'
import { version } from '../../src/version.ts'
import { startTestService, type TestService } from '../support/service.ts'

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly security: readonly object[]
  readonly responses: Readonly<Record<string, { description: string }>>
  readonly parameters?: readonly { name: string; in: string }[]
}
const document = openapi(version) as {
  paths: Record<string, Record<string, Operation>>
  tags: { name: string }[]
  components: { schemas: object }
}
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)
const policies = new URL('../../policies', import.meta.url).pathname

test('is valid OpenAPI 3.1', async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(document)))
  expect([valid, errors]).toEqual([true, undefined])
  expect(validator.version).toBe('3.1')
})

test('every operation has an ID of its own, a summary, a known tag, an answer, and a parameter for each part of its path', () => {
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
  const tags = document.tags.map(({ name }) => name)
  for (const { path, operation } of operations) {
    expect(operation.summary.length).toBeGreaterThan(5)
    expect(tags).toEqual(expect.arrayContaining([...operation.tags]))
    expect(operation.responses['200']?.description.length).toBeGreaterThan(2)
    const parts = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    expect(operation.parameters?.filter((one) => one.in === 'path').map(({ name }) => name) ?? []).toEqual(parts)
  }
})

test('every schema that is referred to is there, and every one that is there is referred to', () => {
  const referred = new Set([...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name))
  expect([...referred].sort()).toEqual(Object.keys(document.components.schemas).sort())
})

test('has every route of the server, and no other', async () => {
  const nothing = () => [] as string[]
  const { app, routes } = createHttpServer({
    decider: {},
    limits: {},
    maxBodyBytes: 1_000,
    requestTimeoutMs: 1_000,
    hosts: undefined,
    verifyDecide: undefined,
    verifyAdmin: () => undefined,
    gateways: {},
    opa: {},
    candidates: () => ({ kinds: new Set() }),
    authzen: {},
    notReady: nothing,
    info: () => ({}),
    bundles: {},
    log: pino({ level: 'silent' }),
  } as unknown as HttpServerOptions)
  await app.ready()
  const served = new Set(
    routes.map(({ method, url }) => `${method.toLowerCase()} ${url.replace(/\*$/, '{path}').replaceAll(/:(\w+)/g, '{$1}')}`),
  )
  const described = operations.map(({ path, method }) => `${method} ${path}`)
  expect(described.filter((one) => !served.has(one))).toEqual([])
  // Any method at the gateways' doors; roots of trees; what is refused and says so.
  const known = (one: string) => /^[\w-]+ \/v1\/auth/.test(one) || /^(?:get|post) \/v[01](?:\/batch)?\/data$/.test(one)
  const refused = /^(?:\w+ \/v1\/(?:policies|query|compile)(?:\/\{path\})?|(?:put|patch|delete) \/v1\/data(?:\/\{path\})?)$/
  expect([...served].filter((one) => !described.includes(one) && !known(one) && !refused.test(one))).toEqual([])
  await app.close()
})

describe('examples', () => {
  test.each(listExamples().map(({ method, path, example }) => [`${method} ${path}: ${example.summary}`, method, path, example] as const))(
    '%s',
    async (_title, method, path, example) => {
      const service = await startTestService(policies)
      const url = `${service.url}${path.replace('{path}', 'authz/decision')}`
      const response = await fetch(url, {
        method: method.toUpperCase(),
        body: JSON.stringify(example.value),
        headers: { 'content-type': 'application/json' },
      })
      expect(response.status).toBe(example.status)
      await response.json()
      await service.stop()
    },
  )
})

test('is served to the administrator', async () => {
  const service: TestService = await startTestService(policies)
  expect((await fetch(`${service.url}/docs`)).status).toBe(401)
  const authorization = `Bearer ${readFileSync(join(service.state, 'admin.token'), 'utf8')}`
  const response = await fetch(`${service.url}/docs`, { headers: { authorization } })
  expect(await response.json()).toEqual(JSON.parse(JSON.stringify(document)))
  await service.stop()
})
