// Keys from an issuer's server: fetched when they are needed and not more often, and what happens while the server fails (fault 11).
import { generateKeyPairSync } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from '@jest/globals'
import { RemoteKeys, type RemoteKeysOptions } from '../../src/identity/remote-keys.ts'

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const setOf = (...kids: string[]) => JSON.stringify({ keys: kids.map((kid) => ({ ...publicKey.export({ format: 'jwk' }), kid })) })
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

async function setUp(more: Partial<RemoteKeysOptions> = {}) {
  const good = (response: ServerResponse): void => void response.end(setOf('a'))
  const server = { answer: good, requests: 0 }
  const listening = createServer((_, response) => {
    server.requests++
    server.answer(response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => listening.once('listening', resolve))
  const errors: string[] = []
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}/jwks`
  const onError = (message: string) => void errors.push(message)
  const keys = new RemoteKeys({ url, refreshMs: 60_000, cooldownMs: 200, maxStaleMs: 60_000, timeoutMs: 300, onError, ...more })
  closers.push(() => {
    keys.close()
    listening.closeAllConnections()
    listening.close()
  })
  const has = async (kid: string) =>
    (await keys.get((set) => set.find({ kid, alg: 'ES256' }) !== undefined))?.find({ kid, alg: 'ES256' }) !== undefined
  return { server, keys, errors, has }
}

test('known keys cost no request; an unknown one costs one for all who ask, and waits for the cool-down', async () => {
  const { server, keys, has } = await setUp()
  await keys.start()
  for (let i = 0; i < 100; i++) expect(await has('a')).toBe(true)
  expect(server.requests).toBe(1)
  const began = performance.now()
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => has(`unknown ${i}`)))
  expect([answers.some(Boolean), server.requests]).toEqual([false, 2])
  expect(performance.now() - began).toBeGreaterThan(50)
  server.answer = (response) => void response.end(setOf('b'))
  expect([await has('b'), await has('a'), server.requests]).toEqual([true, false, 4])
})

test('keys are fetched again after a while, so that one that was withdrawn ends', async () => {
  const { server, keys, has } = await setUp({ refreshMs: 150, cooldownMs: 10_000 })
  await keys.start()
  server.answer = (response) => void response.end(setOf('b'))
  await sleep(400)
  expect(await keys.get((set) => set.find({ kid: 'b', alg: 'ES256' }) !== undefined)).toBeDefined()
  expect([await has('b'), server.requests >= 2]).toEqual([true, true])
})

describe('a server that fails leaves the last good keys, for as long as they count', () => {
  test.each<[string, (response: ServerResponse) => void, string]>([
    ['500', (response) => void response.writeHead(500).end(), 'the status is 500'],
    ['a redirect', (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'the status is 302'],
    ['garbage', (response) => void response.end('<html>'), 'not JSON'],
    ['a set without keys', (response) => void response.end('{"keys":[]}'), 'no key that can be used'],
    ['too many bytes', (response) => void response.end(Buffer.alloc(2 ** 21, 0x20)), 'more than'],
    ['silence', () => {}, 'timeout'],
    ['a broken connection', (response) => void response.destroy(), 'fetch failed'],
  ])('%s', async (_what, answer, said) => {
    const { server, keys, errors, has } = await setUp({ refreshMs: 100, maxStaleMs: 700 })
    await keys.start()
    server.answer = answer
    await sleep(200)
    expect(await has('a')).toBe(true)
    await sleep(800)
    expect([keys.isUsable, await has('a')]).toEqual([false, false])
    expect(errors.join()).toContain(said)
    server.answer = (response) => void response.end(setOf('a'))
    expect(await has('a')).toBe(true)
  })

  test('a server that is away at the start: no keys, until it is there', async () => {
    const { server, keys, has } = await setUp()
    server.answer = (response) => void response.writeHead(503).end()
    await keys.start()
    expect([keys.isUsable, await has('a')]).toEqual([false, false])
    server.answer = (response) => void response.end(setOf('a'))
    expect([await has('a'), keys.isUsable]).toEqual([true, true])
  })
})
