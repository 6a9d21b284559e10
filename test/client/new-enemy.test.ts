// Somebody is taken out, then a secret is added; whoever asks with what was said of the first (`minEpoch`) must not get an answer from
// before it, whatever is kept where, and also where the word of the change does not get through.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from '@jest/globals'
import { type Client, createClient, type Question } from '../../src/client/index.ts'
import { admin, archiveOf } from '../support/bundles.ts'
import { startTestService } from '../support/service.ts'

const files = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": allow, "cache": {"max_age_ms": 60000}}

allow if input.subject.id in data.readers
`,
  'data.json': '{"readers":["bob"],"documents":["plan"]}',
}
const rounds = 8
const clients: Client[] = []
afterAll(() => Promise.all(clients.map((client) => client.close())))

/** What is heard of the service: that it lives, and nothing else. */
const deaf: typeof fetch = async (url, init) => {
  if (!String(url).endsWith('/v1/changes')) return fetch(url, init)
  let beat: NodeJS.Timeout
  const body = new ReadableStream({
    start(controller) {
      const say = (text: string) => controller.enqueue(new TextEncoder().encode(text))
      say('id: i.1\nevent: hello\ndata: {"reset":true}\n\n')
      beat = setInterval(() => say(':\n\n'), 200)
      init?.signal?.addEventListener('abort', () => {
        clearInterval(beat)
        controller.error(new Error('over'))
      })
    },
    cancel: () => clearInterval(beat),
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
}

test('who was taken out gets no answer from before it', async () => {
  const service = await startTestService(undefined, { bundles: [{ name: 'main', gate: { maxFlips: 1_000_000 } }] })
  await admin(service, 'PUT', '/v1/bundles/main', await archiveOf(files))
  const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8').trim()}`
  let epoch = 1
  const patch = async (operations: object[]) => {
    const headers = { authorization, 'content-type': 'application/json-patch+json', 'if-match': String(epoch) }
    const response = await fetch(`${service.url}/v1/bundles/main/data`, { method: 'PATCH', headers, body: JSON.stringify(operations) })
    const answer = (await response.json()) as { epoch: number }
    expect(response.status).toBe(200)
    epoch = answer.epoch
  }
  const hears = createClient({ urls: [service.url], keep: {} })
  const hearsNothing = createClient({ urls: [service.url], keep: {}, fetch: deaf })
  clients.push(hears, hearsNothing)
  await sleep(200)
  const bob: Question = { subject: { type: 'user', id: 'bob' }, action: { name: 'read' }, resource: { type: 'doc', id: 'plan' } }
  let isStaleSeen = false
  for (let round = 0; round < rounds; round++) {
    // Kept by both.
    for (const client of [hears, hearsNothing]) {
      await client.decide(bob, { minEpoch: epoch })
      expect((await client.decide(bob, { minEpoch: epoch })).decision).toBe(true)
    }
    await patch([{ op: 'replace', path: '/readers', value: [`nobody ${round}`] }])
    const known = epoch
    await patch([{ op: 'add', path: '/documents/-', value: `secret ${round}` }])
    // By what both were told: the client that hears nothing has an answer from before, and must not give it.
    for (const client of [hears, hearsNothing]) expect((await client.decide(bob, { minEpoch: known })).decision).toBe(false)
    expect((await hears.decide(bob)).decision).toBe(false)
    isStaleSeen ||= (await hearsNothing.decide(bob)).decision
    await patch([{ op: 'replace', path: '/readers', value: ['bob', `and ${round}`] }])
  }
  // An answer of a new epoch is word enough.
  expect(isStaleSeen).toBe(false)
  await service.stop()
}, 60_000)
