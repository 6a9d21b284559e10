// The short way for plain requests gives what Fastify's way gives, and slow evaluations do not hold answers up.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from '@jest/globals'
import { PdpError } from '../../src/errors.ts'
import { errorAnswer } from '../../src/transport/http/answer.ts'
import { answerDirectly, type DirectOptions, type DirectRoute } from '../../src/transport/http/direct.ts'
import { rawRequest } from '../support/raw-http.ts'
import { question, startTestService } from '../support/service.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

test('plain and chunked requests get the same answers and headers', async () => {
  const service = await startTestService({ 'p.rego': 'package p\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' })
  const bodies = [
    question,
    { ...question, subject: { type: 'user', id: 'bob' } },
    { ...question, policy: 'main:nothing' },
    { subject: 1 },
    [],
  ]
  const texts = [
    ...bodies.map((one) => JSON.stringify(one)),
    '{"a":1,"a":2}',
    '{',
    '{"evaluations":[{}]}',
    JSON.stringify({ evaluations: [question] }),
  ]
  const inputs = [...texts, ...texts.map((text) => `{"input":${text}}`)]
  const paths = ['/v1/data/p/allow', '/v1/data/p/none', '/v1/data/p']
  const asked = [...texts.map((text) => ['/v1/decide', text]), ...paths.flatMap((path) => inputs.map((text) => [path, text]))] as [
    string,
    string,
  ][]
  for (const [path, text] of asked) {
    const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: r1\r\n`
    const size = Buffer.byteLength(text)
    const plain = await rawRequest(service.url, `${head}Content-Length: ${size}\r\n\r\n${text}`)
    const chunked = await rawRequest(service.url, `${head}Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n${text}\r\n0\r\n\r\n`)
    expect(plain.status).toBe(chunked.status)
    const withoutId = (body: string) => body.replaceAll(/"(id|decision_id)":"[0-9a-f-]{36}"/g, '"$1":""')
    expect(withoutId(plain.body)).toBe(withoutId(chunked.body))
    const headers = (raw: string) =>
      raw
        .split('\r\n')
        .map((line) => line.toLowerCase())
        .filter((line) => !line.startsWith('date:'))
        .sort()
    expect(headers(plain.headers)).toEqual(headers(chunked.headers))
  }
  await service.stop()
})

async function start({
  decide = (body) => body,
  ...options
}: Partial<DirectOptions> & { decide?: DirectRoute['handle'] }): Promise<string> {
  const log = { error: () => {}, info: () => {} }
  const route: DirectRoute = { handle: decide, fail: (error, id) => errorAnswer(error, id, 'POST', log) }
  const direct = answerDirectly({
    route: (target) => (target === '/v1/decide' ? route : undefined),
    guard: () => {},
    decideScope: undefined,
    maxBodyBytes: 1_000,
    isDraining: () => false,
    ...options,
  })
  const server = createServer((request, response) => {
    if (!direct(request, response)) response.writeHead(418).end()
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const post = (url: string, body: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/decide`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })

test('evaluations that take long hold up nobody for longer than one of them', async () => {
  const busy = (ms: number) => {
    const until = performance.now() + ms
    while (performance.now() < until);
  }
  const url = await start({
    decide: (body) => {
      if (body === '"slow"') busy(60)
      return body
    },
  })
  // With connections that are open already, the slow ones arrive together.
  await Promise.all(Array.from({ length: 12 }, async () => (await post(url, '"quick"')).text()))
  const began = performance.now()
  const arrived: number[] = []
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      await (await post(url, '"slow"')).text()
      arrived.push(performance.now() - began)
    }),
  )
  arrived.sort((a, b) => a - b)
  expect(arrived[3]).toBeLessThan((arrived[11] as number) * 0.75)
})

test('what is not plain is left to the other way', async () => {
  const verifyToken = (token: string) => (token === 'good' || token === 'other' ? { authenticated: true, id: token } : undefined)
  const url = await start({ decideScope: { verifyToken, mayEnter: ({ id }) => id === 'good', count: () => {} } })
  expect((await post(url, '{}', { authorization: 'Bearer good' })).status).toBe(200)
  expect((await post(url, '{}', { authorization: 'Bearer bad' })).status).toBe(418)
  expect((await post(url, '{}', { authorization: 'Bearer other' })).status).toBe(418)
  expect((await post(url, '{}', { authorization: 'Bearer good', 'content-encoding': 'gzip' })).status).toBe(418)
  expect((await post(url, '{}', { authorization: 'Bearer good', 'content-type': 'text/plain' })).status).toBe(418)
  expect((await post(url, 'x'.repeat(1_001), { authorization: 'Bearer good' })).status).toBe(418)
  expect((await fetch(`${url}/v1/decide?x=1`, { method: 'POST', body: '{}' })).status).toBe(418)
})

test('a request that the guard refuses is not asked', async () => {
  let asked = 0
  const url = await start({
    guard: () => {
      throw new PdpError('ERR_HOST_REFUSED', 'no')
    },
    decide: (body) => {
      asked++
      return body
    },
  })
  expect((await post(url, '{}')).status).toBe(418)
  expect(asked).toBe(0)
})

test('errors, thrown or answered, at once or later, are answers with their status', async () => {
  const failure = new PdpError('ERR_OVERLOADED', 'later')
  const url = await start({
    decide: (body) => {
      if (body === '"throw"') throw failure
      if (body === '"reject"') return Promise.reject(failure)
      return body === '"later"' ? Promise.resolve(failure) : failure
    },
  })
  for (const body of ['"throw"', '"reject"', '"later"', '"now"']) {
    const answer = await post(url, body)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await answer.json()).toMatchObject({ error: { code: 'ERR_OVERLOADED', message: 'later' } })
  }
})
