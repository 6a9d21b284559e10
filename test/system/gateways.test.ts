// Real gateways in front of a real upstream, with the configurations of deploy/examples, where NGINX_PROGRAM and HAPROXY_PROGRAM
// name the programs.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { freePort } from '../support/ports.ts'
import { rawRequest } from '../support/raw-http.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const examples = new URL('../../deploy/examples', import.meta.url).pathname
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

interface Reached {
  readonly url: string
  readonly method: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

const gateways = [
  {
    name: 'nginx',
    program: process.env.NGINX_PROGRAM,
    files: ['nginx.conf'],
    args: (folder: string) => ['-p', folder, '-c', 'nginx.conf'],
    closed: 500,
  },
  {
    name: 'haproxy',
    program: process.env.HAPROXY_PROGRAM,
    files: ['haproxy.cfg', 'verdict.lua'],
    args: () => ['-f', 'haproxy.cfg'],
    closed: 403,
  },
]

for (const { name, program, files, args, closed } of gateways) {
  const suite = program === undefined ? describe.skip : describe
  suite(name, () => {
    let service: TestService
    let upstream: Server
    let gateway: ChildProcess
    let url: string
    let reached: Reached[]

    beforeEach(async () => {
      service = await startTestService(join(examples, name, 'policy'))
      reached = []
      upstream = createServer(async (request, response) => {
        let body = ''
        for await (const chunk of request) body += chunk
        reached.push({ url: request.url as string, method: request.method as string, headers: request.headers, body })
        response.end('from the upstream')
      }).listen(0, '127.0.0.1')
      await once(upstream, 'listening')
      const port = await freePort()
      const folder = tempFolder()
      mkdirSync(join(folder, 'tmp'))
      const ports: Record<string, number> = {
        8181: Number(new URL(service.url).port),
        9000: (upstream.address() as AddressInfo).port,
        8080: port,
      }
      for (const file of files) {
        cpSync(join(examples, name, file), join(folder, file))
        writeFileSync(
          join(folder, file),
          readFileSync(join(folder, file), 'utf8').replaceAll(/127\.0\.0\.1:(\d+)/g, (_, from: string) => `127.0.0.1:${ports[from]}`),
        )
      }
      gateway = spawn(program as string, args(folder), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
      children.push(gateway)
      url = `http://127.0.0.1:${port}`
      for (
        let i = 0;
        i < 100 &&
        !(await fetch(url).then(
          () => true,
          () => false,
        ));
        i++
      )
        await sleep(50)
      reached.length = 0
    })
    afterEach(async () => {
      gateway.kill('SIGTERM')
      await once(gateway, 'exit')
      upstream.close()
      await service.stop()
    })

    test('what the policy allows reaches the upstream, with what the policy adds and not what the client made up', async () => {
      const answer = await fetch(`${url}/public/a%20b?x=1`, {
        headers: { 'x-subject': 'root', 'x-original-uri': '/other', 'x-forwarded-uri': '/other', 'x-request-id': 'gw-1' },
      })
      expect([answer.status, await answer.text()]).toEqual([200, 'from the upstream'])
      expect(reached.map(({ url, method, headers }) => [url, method, headers['x-subject']])).toEqual([
        ['/public/a%20b?x=1', 'GET', 'anonymous'],
      ])
      const [record] = (await service.stop()).slice(-1)
      expect(record).toMatchObject({
        door: 'forward-auth',
        correlation_id: 'gw-1',
        outcome: 'allow',
        action: { name: 'GET' },
        resource: { id: '/public/a b' },
      })
    })

    test('what it denies does not: 403, or 401 with how to sign in', async () => {
      expect((await fetch(`${url}/private/`)).status).toBe(403)
      expect((await fetch(`${url}/public/`, { method: 'POST', body: 'x' })).status).toBe(403)
      const account = await fetch(`${url}/account/1`)
      expect([account.status, account.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
      const token = await fetch(`${url}/public/`, { headers: { authorization: 'Bearer eyJ' } })
      expect([token.status, token.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"'])
      expect(reached).toEqual([])
    })

    test('a path with two readings is denied', async () => {
      for (const path of [
        '/public/../private',
        '/public/%2e%2e/private',
        '/public/..%2fprivate',
        '/public//x',
        '/public/%61',
        '/public/;/x',
        '/public/\\x',
      ]) {
        const answer = await rawRequest(url, `GET ${path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n`)
        expect([path, [400, 403].includes(answer.status)]).toEqual([path, true])
      }
      expect(reached).toEqual([])
    })

    test('the body goes to the upstream only', async () => {
      const secret = 'the body of the request'
      // A body with GET: what the policy allows and the gateway passes on.
      const lines = ['GET /public/ HTTP/1.1', 'Host: shop.example', `Content-Length: ${secret.length}`, 'Connection: close', '', secret]
      expect((await rawRequest(url, lines.join('\r\n'))).status).toBe(200)
      expect(reached.map(({ body }) => body)).toEqual([secret])
      const records = await service.stop()
      expect(JSON.stringify([records, service.logged])).not.toContain(secret)
    })

    test('without the decision point nothing passes', async () => {
      await service.service.close()
      expect((await fetch(`${url}/public/`)).status).toBe(closed)
      expect(reached).toEqual([])
    })
  })
}
