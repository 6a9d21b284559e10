// Watch over gRPC: what those are told who keep answers, from where on, and how it ends.
import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { beforeAll, expect, test } from '@jest/globals'
import { admin, archiveOf } from '../../support/bundles.ts'
import { follow, grpcClient, type Message } from '../../support/grpc.ts'
import { startTestService, type TestService } from '../../support/service.ts'

const files = (owner: string) => ({
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == data.owner\n',
  'data.json': JSON.stringify({ owner }),
})
let service: TestService
let client: Message
beforeAll(async () => {
  service = await startTestService(undefined, { bundles: [{ name: 'main', gate: { maxFlips: 1_000 } }] })
  client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
})
const push = async (owner: string) => admin(service, 'PUT', '/v1/bundles/main', await archiveOf(files(owner)))
const revoke = (kind: string, value: string) => admin(service, 'POST', '/v1/revocations', { kind, value })
const withoutBeats = (messages: readonly Message[]) => messages.filter(({ change }) => change !== 'beat')

test('where it is, then epochs and who was isolated, by digests; a beat each second; on from where it was', async () => {
  await push('ann')
  const act = async () => {
    await sleep(100)
    await push('bob')
    await revoke('subject', 'mallory')
    await revoke('jti', 'j')
  }
  const first = await follow(client, 'Watch', {}, {}, { ms: 1_200, act })
  expect(first.code).toBe(status.CANCELLED)
  expect(first.messages.some(({ change }) => change === 'beat')).toBe(true)
  const [hello, epoch, subject, token, ...rest] = withoutBeats(first.messages)
  expect(hello.hello).toMatchObject({ reset: true, bundles: [{ bundle: 'main', epoch: 1 }] })
  expect(epoch.epoch).toEqual({ bundle: 'main', epoch: 2 })
  const digest = createHmac('sha256', hello.hello.key).update('mallory').digest()
  expect([subject.isolated.kind, Buffer.from(subject.isolated.digest)]).toEqual(['subject', digest])
  expect([token.isolated.kind, token.isolated.digest.length, rest]).toEqual(['token', 0, []])
  const second = withoutBeats((await follow(client, 'Watch', { last_id: epoch.id })).messages)
  expect(second.map(({ change, id }) => [change, id])).toEqual([
    ['hello', epoch.id],
    ['isolated', subject.id],
    ['isolated', token.id],
  ])
  expect(second[0].hello.reset).toBe(false)
  const [unknown] = (await follow(client, 'Watch', { last_id: 'x.1' })).messages
  expect([unknown.hello.reset, unknown.hello.bundles]).toEqual([true, [{ bundle: 'main', epoch: 2 }]])
})

test('ends with the service, at once', async () => {
  const own = await startTestService(files('ann'), { 'server.drainTimeoutMs': 5_000 })
  const watching = follow(grpcClient(own.grpcAddress, 'verdict.v1.DecisionService'), 'Watch', {}, {}, { ms: 10_000 })
  await sleep(200)
  const began = performance.now()
  await own.stop()
  expect((await watching).code).toBe(status.OK)
  expect(performance.now() - began).toBeLessThan(4_000)
})
